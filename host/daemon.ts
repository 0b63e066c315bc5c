import { EventEmitter } from 'node:events';
import { ChannelKeeper, STOP_GRACE_MS } from '../protocol/channel/channel-keeper.js';
import { FrameLog } from '../protocol/channel/frame-log.js';
import { FrameRing } from '../protocol/frame-ring.js';
import { LogLimiter } from '../protocol/program/log-limiter.js';
import { startProgramSockets } from '../protocol/program/program-sockets.js';
import { VERSION } from '../protocol/program/version.js';
import { CONTROL_SERVICE } from '../protocol/services/control.js';
import { SlabPool } from '../protocol/slab.js';
import type { RawSocket } from '../protocol/socket/raw-socket.js';
import type { SocketReport } from '../protocol/socket/socket-report.js';
import type { Stream } from '../protocol/stream.js';
import type { CaptureSources } from './capture/captures.js';
import type { HostObserver } from './control/event-hub.js';
import { type ControlServer, LateLeaseServer, startControlServer } from './control/late-server.js';
import type { HostResources } from './control/metrics.js';
import type { ControlTarget } from './control/server.js';
import { LateDashboard } from './dashboard/late-dashboard.js';
import { Descriptors } from './descriptors.js';
import { Diagnosis } from './diagnose/diagnosis.js';
import { GuestInspector } from './diagnose/guest-inspector.js';
import { STATIC } from './forwards/claim.js';
import { ExposePolicy } from './forwards/expose-policy.js';
import type { Forward } from './forwards/forward.js';
import { ForwardTable } from './forwards/forward-table.js';
import { Leases } from './forwards/leases.js';
import { StateFile } from './forwards/state-file.js';
import type { UdpListener } from './listen/udp-listener.js';
import type { HostContext, HostOptions } from './options.js';
import { reportChannel } from './records/channel-report.js';
import { ConnectionLog } from './records/connection-log.js';
import { type DumpReport, makeDump } from './records/dump.js';
import { Rates } from './records/rates.js';
import { Records } from './records/records.js';
import {
  FAILED_LATELY_SECONDS,
  type ForwardReport,
  reportForward,
  type StateFileReport,
  type StatusReport,
} from './records/reports.js';
import { Crowd } from './relay/crowd.js';
import { Relay } from './relay/relay.js';
import { MAX_FLOWS, UdpRelay } from './relay/udp-relay.js';

/**
 * Runs the host until it is told to stop: listens for its forwards, keeps the channel, answers the control
 * API. Resolves when it has stopped in order.
 * @throws OperationError when something it needs at start cannot be had, or a channel by stdio: fails; nothing is left
 * open then
 */
export async function runHost(options: HostOptions, context: HostContext): Promise<void> {
  const sockets = await startProgramSockets(context.logger, options.keepAliveSeconds);
  const host = new Host(options, context, sockets);
  try {
    await host.start();
    await Promise.race([aborted(context.stop), host.channelOver]);
  } finally {
    await host.stop();
  }
}

/** What a part tells those that are made after it. */
interface HostEvents {
  channelUp: [];
  channelDown: [];
  /** The guest has opened a stream. */
  stream: [Stream];
  client: [RawSocket, Forward];
  udpForward: [UdpListener, Forward];
  /** Forwards have gone, and there is room for more clients. */
  removed: [];
}

class Host implements ControlTarget {
  readonly forwards: ForwardTable;
  readonly leases: Leases;
  readonly diagnosis: Diagnosis;
  readonly captureSources: CaptureSources;
  readonly dashboard: LateDashboard;
  readonly #options: HostOptions;
  readonly #context: HostContext;
  readonly #sockets: SocketReport;
  readonly #startedAt = performance.now();
  readonly #descriptors = new Descriptors();
  readonly #events = new EventEmitter<HostEvents>();
  readonly #limiter: LogLimiter;
  readonly #stateFile: StateFile | undefined;
  readonly #keeper: ChannelKeeper;
  readonly #records: Records;
  readonly #rates = new Rates();
  readonly #frames: FrameRing;
  readonly #relay: Relay;
  readonly #leaseServer: LateLeaseServer;
  /** The user's own forwards come first: a guest that is early is not to take their ports. */
  readonly #restored = new AbortController();
  #control: ControlServer | undefined;

  /** Makes the parts, each of those before it, and then connects them; nothing happens before start(). */
  constructor(options: HostOptions, context: HostContext, sockets: SocketReport) {
    const { logger } = context;
    const events = this.#events;
    this.#options = options;
    this.#sockets = sockets;
    this.#context = context;
    this.#limiter = new LogLimiter(logger);
    this.#frames = new FrameRing(Date.now, new FrameLog(logger));
    const log = new ConnectionLog(logger, this.#limiter);
    const stateFile = options.stateFile === undefined ? undefined : new StateFile(options.stateFile, logger);
    this.#stateFile = stateFile;
    this.#keeper = new ChannelKeeper({
      ...options.channel,
      version: VERSION,
      pool: new SlabPool(),
      frames: this.#frames,
      logger,
      owner: {
        onUp: () => events.emit('channelUp'),
        onStream: (stream) => events.emit('stream', stream),
        onDown: () => events.emit('channelDown'),
        toll: () => log.toll(),
      },
    });
    this.forwards = new ForwardTable({
      onClient: (socket, forward) => events.emit('client', socket, forward),
      onUdpForward: (listener, forward) => events.emit('udpForward', listener, forward),
      onChange: (kept) => stateFile?.save(kept),
      onRemoved: () => events.emit('removed'),
      descriptors: this.#descriptors,
      logger,
    });
    this.leases = new Leases({
      forwards: this.forwards,
      policy: new ExposePolicy({ rules: options.allowExpose, socketsFolder: options.socketsFolder }),
      maxForwards: this.#descriptors.maxLeasedForwards,
      logger,
    });
    this.#leaseServer = new LateLeaseServer(this.leases, logger);
    this.#records = new Records();
    this.diagnosis = new Diagnosis({
      forwards: () => this.reportForwards(),
      channel: () => reportChannel(this.#keeper.state),
      inspector: new GuestInspector(this.#keeper),
      records: this.#records,
      probe: () => this.probe(),
      publishers: () => this.leases.report(),
      facts: () => ({
        version: VERSION,
        platform: process.platform,
        clients: this.#records.open.size,
        maxClients: this.#descriptors.maxClients,
        ...(stateFile && { stateFile: reportState(stateFile) }),
      }),
    });
    this.captureSources = {
      version: VERSION,
      records: this.#records,
      channel: this.#keeper,
      forwards: () => [...this.forwards.list(), ...this.forwards.missing()],
    };
    this.dashboard = new LateDashboard({
      target: this,
      tokenPath: options.dashboardTokenPath,
      descriptors: this.#descriptors,
      logger,
    });
    const crowd = new Crowd({
      room: this.#descriptors,
      setAccepting: (accepting) => this.forwards.setAccepting(accepting),
      logger,
    });
    this.#relay = new Relay({
      streams: this.#keeper,
      records: this.#records,
      holdMs: options.holdSeconds * 1000,
      crowd,
    });
    const udpRelay = new UdpRelay({ streams: this.#keeper, records: this.#records, limiter: this.#limiter });

    this.#records.observe(log);
    events.on('channelUp', () => {
      log.onChannelUp();
      this.#relay.onChannelUp();
      udpRelay.onChannelUp();
    });
    events.on('stream', (stream) => this.#onStream(stream));
    events.on('client', (socket, forward) => this.#relay.onClient(socket, forward));
    events.on('udpForward', (listener, forward) => udpRelay.serve(listener, forward));
    events.on('removed', () => crowd.roomMade());
    context.abandon?.addEventListener('abort', () =>
      this.#relay.abort({ code: 'STOPPED', message: 'the host was told to end at once' }),
    );
  }

  /** The channel first: a client that comes early is then held, and not for longer than need be. */
  async start(): Promise<void> {
    const { controlPath, forwards, dashboard } = this.#options;
    const { logger, onReady } = this.#context;
    await this.#keeper.start();
    const saved = (await this.#stateFile?.load()) ?? [];
    await this.forwards.expose(forwards, STATIC);
    await this.forwards.restore(saved);
    this.#restored.abort();
    this.#control = await startControlServer(this, controlPath, logger, {
      maxConnections: this.#descriptors.maxControlConnections,
    });
    const { origin } = dashboard ? await this.dashboard.open(dashboard) : {};
    onReady?.({
      controlPath,
      forwards: this.forwards.list(),
      ...(origin !== undefined && { dashboard: origin }),
    });
  }

  /**
   * Only of stdio:, where no channel follows the first: resolves when that has ended in good order.
   * @throws OperationError with the reason when it has ended otherwise
   */
  get channelOver(): Promise<void> {
    return this.#keeper.over;
  }

  /** Listeners first, so that nobody new comes; then what is in flight may finish. */
  async stop(): Promise<void> {
    const reason = { code: 'STOPPED', message: 'the host was told to stop' };
    this.leases.close();
    this.#leaseServer.close();
    await this.forwards.close();
    await this.#stateFile?.close();
    await this.#keeper.stop(reason, STOP_GRACE_MS);
    this.#relay.abort(reason);
    await Promise.all([this.#control?.close(), this.dashboard.close()]);
    this.#limiter.flush();
  }

  // ---- what the control API shows --------------------------------------------------------------------

  probe(): Promise<void> {
    return this.#keeper.probe();
  }

  status(): StatusReport {
    return {
      version: VERSION,
      pid: process.pid,
      uptimeSeconds: (performance.now() - this.#startedAt) / 1000,
      channel: reportChannel(this.#keeper.state),
      sockets: this.#sockets,
      forwards: this.forwards.size,
      failedForwards: this.forwards.missing().length,
      failedConnections: this.#records.failedWithin(FAILED_LATELY_SECONDS),
      ...(this.#stateFile && { stateFile: reportState(this.#stateFile) }),
    };
  }

  get saveProblem(): string | undefined {
    return this.#stateFile?.problem;
  }

  settle(): void {
    this.#records.settle();
  }

  observe(observer: HostObserver): () => void {
    const onChannel = (): void => observer.onChannel?.(reportChannel(this.#keeper.state));
    this.#events.on('channelUp', onChannel).on('channelDown', onChannel);
    const undo = [
      this.#records.observe(observer),
      this.forwards.observe(observer),
      () => this.#events.off('channelUp', onChannel).off('channelDown', onChannel),
    ];
    return () => undo.forEach((end) => void end());
  }

  resources(): HostResources {
    const { limit, maxClients } = this.#descriptors;
    const budget = this.#keeper.multiplexer?.budget;
    return { ...(budget && { windowBudgetFree: budget.free }), maxDescriptors: limit, maxClients };
  }

  connections(): ReturnType<Records['report']> {
    return this.#records.report();
  }

  dump(): DumpReport {
    return makeDump({
      status: this.status(),
      limits: {
        clients: this.#descriptors.maxClients,
        udpFlows: MAX_FLOWS,
        leasedForwards: this.leases.maxForwards,
        holdSeconds: this.#options.holdSeconds,
      },
      forwards: this.reportForwards(),
      leases: linesOf(this.leases.describe()),
      connections: this.connections(),
      multiplexer: linesOf(this.#keeper.multiplexer?.describe() ?? 'no channel\n'),
      frames: this.#frames.list(),
      log: this.#context.logTail?.lines() ?? [],
    });
  }

  reportForwards(): ForwardReport[] {
    this.#records.settle();
    const listening = this.forwards.list().map((forward) => reportForward(forward, this.#rates.of(forward)));
    return [...listening, ...this.forwards.missing().map((claim) => reportForward(claim))];
  }

  // ---- inside ----------------------------------------------------------------------------------------

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

function reportState({ path, problem, aside }: StateFile): StateFileReport {
  return { path, ...(problem !== undefined && { problem }), ...(aside && { aside }) };
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
