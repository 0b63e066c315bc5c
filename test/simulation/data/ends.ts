import { Dialler } from '../../../guest/dial/dialler.js';
import type { Forward } from '../../../host/forwards/forward.js';
import type { Records } from '../../../host/records/records.js';
import { Crowd } from '../../../host/relay/crowd.js';
import { Relay } from '../../../host/relay/relay.js';
import type { SocketAddress, SocketHandler } from '../../../protocol/socket/raw-socket.js';
import type { Stream } from '../../../protocol/stream.js';
import { fakeForward } from '../../fixtures/fake-forward.js';
import { End, type EndOptions, logger, STOPPED } from '../world/end.js';
import type { Outcome } from '../world/network.js';
import { SimulatedSocket } from '../world/simulated-socket.js';

/** How long (ms) a client waits for a channel. */
export const HOLD_MS = 3_000;

/** How long (ms) a dial may take. */
export const DIAL_TIMEOUT_MS = 5_000;

interface DataOptions extends EndOptions {
  /** Takes the streams that are neither dialled nor a service's. */
  onDirect(stream: Stream): void;
}

/** What the host's relay tells the records of connections: how often each has ended. */
export interface HostOptions extends DataOptions {
  onRecordEnded(forward: Forward): void;
}

export class DataHost extends End {
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

  protected override abort(): void {
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

export interface GuestOptions extends DataOptions {
  /** Who serves a port, and what becomes of the dial. */
  onDial(port: number, socket: SimulatedSocket): Outcome;
}

/** How long (ms) a dial takes that is late. */
const LATE_DIAL_MS = 400;

export class DataGuest extends End {
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

  protected override abort(): void {
    this.#dialler.abort(STOPPED);
  }
}

function refused(): NodeJS.ErrnoException {
  return Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
}
