import type { ChannelTransport } from '../../../protocol/channel/channel-keeper.js';
import { OperationError } from '../../../protocol/errors.js';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import type { ChannelAddress } from '../../../protocol/transport/channel-address.js';
import { SimulatedSocket } from './simulated-socket.js';
import { WireCheck, type WireObserver } from './wire-check.js';
import type { Process, World } from './world.js';

/** What becomes of an attempt to connect. */
export type Outcome = 'works' | 'fails' | 'late' | 'never';

/** How long (ms) what answers late takes. */
const LATE_MS = 700;

/** How long (ms) the real connect to a channel waits. */
const CONNECT_TIMEOUT_MS = 10_000;

export const ADDRESS: ChannelAddress = { kind: 'tcp', host: '127.0.0.1', port: 7000 };

/** A channel's two sockets, the one that connected first. */
export type Wire = readonly [SimulatedSocket, SimulatedSocket];

/** Where the two ends get their channel from. */
export class Network {
  /** What becomes of the next attempts; those after them work. */
  outcomes: Outcome[] = [];
  wires: Wire[] = [];
  /** Whether the two ends that there are now have both announced early data. */
  early = false;
  readonly #world: World;
  #listening: { process: Process; onSocket: (socket: RawSocket) => void } | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  /** The network as a process sees it. */
  of(process: Process): ChannelTransport {
    return {
      listenForChannel: async (address, onSocket) => {
        const listening = { process, onSocket };
        this.#listening = listening;
        const close = async (): Promise<void> => {
          if (this.#listening === listening) this.#listening = undefined;
        };
        return { address, close };
      },
      connectChannel: (_address, { signal } = {}) =>
        new Promise((resolve, reject) => {
          let timer: NodeJS.Timeout | undefined;
          const fail = (): void => {
            clearTimeout(timer);
            reject(new OperationError('cannot connect'));
          };
          const connect = (): void => {
            const socket = signal?.aborted ? undefined : this.#connect(process);
            if (socket) resolve(socket);
            else fail();
          };
          signal?.addEventListener('abort', fail);
          const outcome = this.outcomes.shift() ?? 'works';
          if (outcome === 'never') timer = setTimeout(fail, CONNECT_TIMEOUT_MS);
          else if (outcome === 'late') timer = setTimeout(connect, LATE_MS);
          else setImmediate(outcome === 'works' ? connect : fail);
        }),
    };
  }

  /** Those channels' sockets that are not gone. */
  live(): Wire[] {
    this.wires = this.wires.filter((wire) => wire.some(({ destroyed }) => !destroyed));
    return this.wires;
  }

  #connect(process: Process): SimulatedSocket | undefined {
    const listening = this.#listening;
    if (!listening?.process.alive) return undefined;
    const world = this.#world;
    const kind = { capacity: world.pick([2048, 16_384, 200_000, 1_000_000]), resets: world.chance(0.5) };
    const wire = SimulatedSocket.pair(world, process, listening.process, kind);
    const { ends } = new WireCheck(world, this.early);
    for (const [index, socket] of wire.entries()) socket.observer = ends[index] as WireObserver;
    this.wires.push(wire);
    listening.process.immediates.push({ run: () => listening.onSocket(wire[1]) });
    return wire[0];
  }
}
