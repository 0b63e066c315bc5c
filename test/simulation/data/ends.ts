import { Dialler } from '../../guest/dial/dialler.js';
import type { Forward } from '../../host/forwards/forward.js';
import type { Records } from '../../host/records/records.js';
import { Crowd } from '../../host/relay/crowd.js';
import { Relay } from '../../host/relay/relay.js';
import { ChannelKeeper, type KeeperOwner } from '../../protocol/channel/channel-keeper.js';
import { createLogger } from '../../protocol/program/logger.js';
import { type Slab, SlabPool } from '../../protocol/slab.js';
import type { SocketAddress, SocketHandler } from '../../protocol/socket/raw-socket.js';
import type { Stream } from '../../protocol/stream.js';
import type { ChannelMode } from '../../protocol/transport/channel-address.js';
import type { Feature } from '../../protocol/wire/handshake.js';
import { fakeForward } from '../fixtures/fake-forward.js';
import { ADDRESS, type Network, type Outcome } from './network.js';
import { SimulatedSocket } from './simulated-socket.js';
import type { Process, World } from './world.js';

export const logger = createLogger('silent', { write: () => {} });

/** How long (ms) a client waits for a channel. */
export const HOLD_MS = 3_000;

/** How long (ms) a dial may take. */
const DIAL_TIMEOUT_MS = 5_000;

const STOPPED = { code: 'STOPPED', message: 'told to stop' };

export interface EndOptions {
  world: World;
  network: Network;
  mode: ChannelMode;
  features: readonly Feature[];
  /** Takes the streams that are neither dialled nor a service's. */
  onDirect(stream: Stream): void;
}

/** Of a slab, so much: most of what is sent fits in. */
const OVERWRITTEN_BYTES = 64 * 1024;

/** Overwrites what nobody holds any more: whoever sends it all the same sends wrong bytes. */
class OverwritingPool extends SlabPool {
  override release(slab: Slab): void {
    super.release(slab);
    if (slab.holds === 0) slab.bytes.subarray(0, OVERWRITTEN_BYTES).fill(0xdb);
  }
}

/** Of ends that have stopped with nothing held: new memory for each schedule would cost most of the time. */
const sparePools: SlabPool[] = [];

/** What both ends have: a process, and the keeper of its channel. */
export abstract class End {
  readonly process: Process;
  readonly pool: SlabPool = sparePools.pop() ?? new OverwritingPool();
  readonly keeper: ChannelKeeper;
  protected readonly world: World;
  /** It has been told to stop. */
  stopping = false;
  stopped = false;

  constructor(name: string, { world, network, mode, features }: EndOptions, owner: KeeperOwner) {
    this.world = world;
    this.process = world.start(name);
    this.keeper = new ChannelKeeper({
      ...{ mode, address: ADDRESS, version: 'simulated', pool: this.pool, logger, features, owner },
      transport: network.of(this.process),
    });
    world.as(this.process, () => void this.keeper.start());
  }

  /** Ends in good order, by and by. */
  stop(graceMs: number): void {
    this.stopping = true;
    this.world.as(this.process, () => {
      void this.keeper.stop(STOPPED, graceMs).then(() => {
        this.abort();
        this.stopped = true;
      });
    });
  }

  /** The end has stopped, and holds nothing: its memory may serve another one. */
  recycle(): void {
    if (this.pool.out === 0) sparePools.push(this.pool);
  }

  protected abstract abort(): void;
}

/** What the host's relay tells the records of connections: how often each has ended. */
export interface HostOptions extends EndOptions {
  onRecordEnded(forward: Forward): void;
}

export class HostEnd extends End {
  readonly relay: Relay;

  constructor(options: HostOptions) {
    super('host', options, {
      onUp: () => this.relay.onChannelUp(),
      onStream: (stream) => options.onDirect(stream),
      onDown: () => {},
    });
    this.relay = new Relay({
      streams: this.keeper,
      records: recordsOf(options),
      holdMs: HOLD_MS,
      crowd: new Crowd({ room: { maxClients: 1000 }, logger }),
    });
  }

  protected abort(): void {
    this.relay.abort(STOPPED);
  }
}

/** A forward to a destination of its own for each connection: its port is the connection's number. */
export function forwardTo(number: number): Forward {
  const forward = fakeForward('8080:80');
  Object.assign(forward.rule, { destination: { proto: 'tcp', ip: '127.0.0.1', port: number } });
  return forward;
}

function recordsOf({ onRecordEnded }: HostOptions): Records {
  const ignore = (): void => {};
  const begin: Records['begin'] = (forward, source) =>
    ({
      ...{ forward, source, dialled: ignore, firstByte: ignore, streamOpened: ignore },
      ended: () => onRecordEnded(forward),
    }) as unknown as ReturnType<Records['begin']>;
  return { begin } as unknown as Records;
}

export interface GuestOptions extends EndOptions {
  /** Who serves a port, and what becomes of the dial. */
  onDial(port: number, socket: SimulatedSocket): Outcome;
}

/** How long (ms) a dial takes that is late. */
const LATE_DIAL_MS = 400;

export class GuestEnd extends End {
  readonly #dialler: Dialler;

  constructor(options: GuestOptions) {
    super('guest', options, {
      onUp: () => {},
      onStream: (stream, source) => {
        if (stream.destination.proto === 'tcp') this.#dialler.serve(stream, source);
        else options.onDirect(stream);
      },
      onDown: () => {},
    });
    this.#dialler = new Dialler({
      ...{ allowDial: [], dialTimeoutMs: DIAL_TIMEOUT_MS, logger },
      connect: (address, handler, onConnect) => this.#dial(options, address, handler, onConnect),
    });
  }

  #dial(
    { world, onDial }: GuestOptions,
    address: SocketAddress,
    handler: SocketHandler,
    onConnect: () => void,
  ): SimulatedSocket {
    const kind = { capacity: world.pick([1024, 8192, 300_000]), resets: true };
    const [own, server] = SimulatedSocket.pair(world, this.process, world.outside, kind);
    own.dial(onConnect).setHandler(handler);
    const outcome = onDial('port' in address ? address.port : 0, server);
    if (outcome === 'works') own.dialled('connected');
    else if (outcome === 'fails') own.dialled(refused());
    else if (outcome === 'late') world.later(LATE_DIAL_MS, () => own.dialled('connected'));
    return own;
  }

  protected abort(): void {
    this.#dialler.abort(STOPPED);
  }
}

function refused(): NodeJS.ErrnoException {
  return Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
}
