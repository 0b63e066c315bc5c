import { ChannelKeeper, type KeeperState, STOP_GRACE_MS } from '../protocol/channel/channel-keeper.js';
import { readVersion } from '../protocol/program/version.js';
import { CONTROL_SERVICE } from '../protocol/services/control.js';
import { SlabPool } from '../protocol/slab.js';
import type { Stream } from '../protocol/stream.js';
import { LeaseServer } from './control/lease-server.js';
import { type ControlServer, type ControlTarget, startControlServer } from './control/server.js';
import { maxClients, maxClientsBeside, maxLeasedForwards } from './descriptors.js';
import { ExposePolicy } from './forwards/expose-policy.js';
import { ForwardTable } from './forwards/forward-table.js';
import { Leases } from './forwards/leases.js';
import { StateFile } from './forwards/state-file.js';
import type { HostContext, HostOptions } from './options.js';
import type { ChannelReport, StatusReport } from './records/reports.js';
import { Relay } from './relay/relay.js';
import { UdpRelay } from './relay/udp-relay.js';

/**
 * Runs the host until it is told to stop: listens for its forwards, keeps the channel, answers the control
 * API. Resolves when it has stopped in order.
 * @throws OperationError when something it needs at start cannot be had; nothing is left open then
 */
export async function runHost(options: HostOptions, context: HostContext): Promise<void> {
  const host = new Host(options, context);
  try {
    await host.start();
    await aborted(context.stop);
  } finally {
    await host.stop();
  }
}

class Host implements ControlTarget {
  readonly forwards: ForwardTable;
  readonly leases: Leases;
  readonly #leaseServer: LeaseServer;
  readonly #options: HostOptions;
  readonly #context: HostContext;
  readonly #keeper: ChannelKeeper;
  readonly #relay: Relay;
  readonly #udpRelay: UdpRelay;
  readonly #stateFile: StateFile | undefined;
  readonly #version = readVersion();
  readonly #startedAt = performance.now();
  /** The user's own forwards come first: a guest that is early is not to take their ports. */
  readonly #restored = new AbortController();
  #control: ControlServer | undefined;

  constructor(options: HostOptions, context: HostContext) {
    const { logger } = context;
    const descriptors = maxClients();
    const listening = (): number => this.forwards.size;
    this.#options = options;
    this.#context = context;
    this.#stateFile = options.stateFile === undefined ? undefined : new StateFile(options.stateFile, logger);
    this.#keeper = new ChannelKeeper({
      ...options.channel,
      version: this.#version,
      pool: new SlabPool(),
      logger,
      owner: {
        onUp: (multiplexer) => {
          this.#relay.onChannelUp(multiplexer);
          this.#udpRelay.onChannelUp();
        },
        onStream: (stream) => this.#onStream(stream),
        onDown: () => {},
      },
    });
    this.#relay = new Relay({
      keeper: this.#keeper,
      holdMs: options.holdSeconds * 1000,
      get maxClients() {
        return maxClientsBeside(listening(), descriptors);
      },
      logger,
    });
    this.#udpRelay = new UdpRelay({ keeper: this.#keeper, logger });
    context.abandon?.addEventListener('abort', () =>
      this.#relay.abort({ code: 'STOPPED', message: 'the host was told to end at once' }),
    );
    this.forwards = new ForwardTable({
      onClient: (socket, forward) => this.#relay.onClient(socket, forward),
      onUdpForward: (listener, forward) => this.#udpRelay.serve(listener, forward),
      onChange: (rules) => this.#stateFile?.save(rules),
      onRemoved: () => this.leases.retry(),
      logger,
    });
    this.leases = new Leases({
      forwards: this.forwards,
      policy: new ExposePolicy({ rules: options.allowExpose, socketsFolder: options.socketsFolder }),
      maxForwards: maxLeasedForwards(descriptors),
      logger,
    });
    this.#leaseServer = new LeaseServer(this.leases, logger);
  }

  /** The channel first: a client that comes early is then held, and not for longer than need be. */
  async start(): Promise<void> {
    const { controlPath, forwards } = this.#options;
    const { logger, onReady } = this.#context;
    await this.#leaseServer.ready();
    await this.#keeper.start();
    await this.forwards.expose(forwards, 'static');
    await this.#stateFile?.restore((rule) => this.forwards.expose([rule]));
    this.#restored.abort();
    this.#control = await startControlServer(this, controlPath, logger);
    onReady?.({ controlPath, forwards: this.forwards.list() });
  }

  /** Listeners first, so that nobody new comes; then what is in flight may finish. */
  async stop(): Promise<void> {
    const reason = { code: 'STOPPED', message: 'the host was told to stop' };
    this.leases.close();
    this.#leaseServer.close();
    await this.forwards.close();
    await this.#keeper.stop(reason, STOP_GRACE_MS);
    this.#relay.abort(reason);
    await this.#control?.close();
  }

  status(): StatusReport {
    return {
      version: this.#version,
      pid: process.pid,
      uptimeSeconds: (performance.now() - this.#startedAt) / 1000,
      channel: reportChannel(this.#keeper.state),
      forwards: this.forwards.list().length,
      failedForwards: this.leases.waiting().length,
    };
  }

  connections(): ReturnType<Relay['connections']> {
    return [...this.#relay.connections(), ...this.#udpRelay.connections()];
  }

  dump(): string {
    const forwards = this.forwards
      .list()
      .map(({ id, counters }) => `forward ${id} ${JSON.stringify(counters)}`);
    const channel = this.#keeper.multiplexer?.describe() ?? 'no channel\n';
    return `${JSON.stringify(this.status(), undefined, 2)}\n${forwards.join('\n')}\n${this.leases.describe()}${channel}`;
  }

  /** The guest can dial nothing on the host but the service by which it asks for forwards. */
  #onStream(stream: Stream): void {
    const { destination } = stream;
    if (destination.proto === 'unix' && destination.path === CONTROL_SERVICE)
      void aborted(this.#restored.signal).then(() => this.#leaseServer.accept(stream));
    else
      stream.refuse('service', {
        code: 'EACCES',
        message: 'the host has nothing that the guest may dial',
      });
  }
}

function reportChannel(state: KeeperState): ChannelReport {
  const { peer, lastError, roundTripMs, since, mode, address, reconnects, streams } = state;
  return {
    state: state.state,
    address,
    mode,
    since: since.toISOString(),
    reconnects,
    streams,
    ...(peer && { peer: { version: peer.version ?? null, features: [...peer.features] } }),
    ...(lastError !== undefined && { lastError }),
    ...(roundTripMs !== undefined && { roundTripMs }),
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
