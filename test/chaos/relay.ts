import { once } from 'node:events';
import net from 'node:net';

/** From which end it comes. */
export type Direction = 'from guest' | 'from host';
export const DIRECTIONS: readonly Direction[] = ['from guest', 'from host'];

/** What the channel passes through: it can be cut, delayed, frozen, and closed one way. */
export class ChannelRelay {
  readonly path: string;
  readonly #target: string;
  readonly #joints = new Set<Joint>();
  readonly #server: net.Server;
  /** How long (ms) everything is held back, from now on. */
  delayMs = 0;

  /** @param path where the guest connects to @param target where the host listens */
  constructor(path: string, target: string) {
    this.path = path;
    this.#target = target;
    this.#server = net.createServer({ allowHalfOpen: true }, (guest) => this.#join(guest));
  }

  async open(): Promise<void> {
    this.#server.listen(this.path);
    await once(this.#server, 'listening');
  }

  close(): void {
    this.#server.close();
    this.cut();
  }

  /** How many channels there are, frozen ones too. */
  get channels(): number {
    return this.#joints.size;
  }

  /** Cuts every channel, at once. */
  cut(): void {
    for (const joint of this.#joints) joint.cut();
  }

  /**
   * Cuts every channel when so many more bytes have passed in this direction, or after `patienceMs`.
   * Resolves when that is done.
   */
  async cutAfter(direction: Direction, bytes: number, patienceMs: number): Promise<void> {
    const joints = [...this.#joints];
    for (const joint of joints) joint.lane(direction).cutAfter(bytes);
    const patience = setTimeout(() => {
      for (const joint of joints) joint.cut();
    }, patienceMs);
    await Promise.all(joints.map(({ gone }) => gone));
    clearTimeout(patience);
  }

  /** Lets nothing through any more, and says so to nobody. @returns what thaws it again */
  freeze(...directions: readonly Direction[]): () => void {
    const lanes = [...this.#joints].flatMap((joint) => directions.map((one) => joint.lane(one)));
    for (const lane of lanes) lane.freeze(true);
    return () => {
      for (const lane of lanes) lane.freeze(false);
    };
  }

  /** Ends one direction of every channel, as a half-close does. */
  end(direction: Direction): void {
    for (const joint of this.#joints) joint.lane(direction).end();
  }

  #join(guest: net.Socket): void {
    const host = net.connect({ path: this.#target, allowHalfOpen: true });
    const joint = new Joint(guest, host, this);
    this.#joints.add(joint);
    void joint.gone.then(() => this.#joints.delete(joint));
  }
}

/** One channel: two sockets, and what goes each way. */
class Joint {
  readonly #lanes: Readonly<Record<Direction, Lane>>;
  readonly #sockets: readonly net.Socket[];
  /** Resolves when both sockets are closed. */
  readonly gone: Promise<unknown>;

  constructor(guest: net.Socket, host: net.Socket, relay: ChannelRelay) {
    this.#sockets = [guest, host];
    const cut = (): void => this.cut();
    this.#lanes = {
      'from guest': new Lane(guest, host, relay, cut),
      'from host': new Lane(host, guest, relay, cut),
    };
    const closed = (socket: net.Socket) =>
      new Promise<void>((resolve) => socket.once('close', () => resolve()));
    this.gone = Promise.all(this.#sockets.map(closed));
  }

  lane(direction: Direction): Lane {
    return this.#lanes[direction];
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** What goes one way. */
class Lane {
  readonly #from: net.Socket;
  readonly #to: net.Socket;
  readonly #relay: ChannelRelay;
  readonly #cut: () => void;
  #frozen = false;
  /** It has ended, or its source is gone, but nobody was told while it was frozen. */
  #held: 'nothing' | 'end' | 'close' = 'nothing';
  #bytesLeft = Number.POSITIVE_INFINITY;
  /** What is held back goes in its order. */
  #waiting = 0;

  constructor(from: net.Socket, to: net.Socket, relay: ChannelRelay, cut: () => void) {
    this.#from = from;
    this.#to = to;
    this.#relay = relay;
    this.#cut = cut;
    from.on('data', (bytes) => this.#pass(bytes));
    from.on('end', () => this.#ended('end'));
    from.on('error', () => {});
    from.on('close', () => this.#ended('close'));
    to.on('drain', () => {
      if (!this.#frozen) from.resume();
    });
  }

  cutAfter(bytes: number): void {
    this.#bytesLeft = bytes;
  }

  freeze(frozen: boolean): void {
    this.#frozen = frozen;
    if (frozen) {
      this.#from.pause();
      return;
    }
    this.#from.resume();
    if (this.#held !== 'nothing') this.#ended(this.#held);
  }

  end(): void {
    this.#from.removeAllListeners('data').resume();
    this.#to.end();
  }

  #pass(bytes: Buffer): void {
    if (bytes.length > this.#bytesLeft) {
      // In the middle of a frame, most likely: what there is of it arrives.
      this.#to.write(bytes.subarray(0, this.#bytesLeft), this.#cut);
      this.#from.pause();
      return;
    }
    this.#bytesLeft -= bytes.length;
    const { delayMs } = this.#relay;
    if (delayMs === 0 && this.#waiting === 0) {
      this.#write(bytes);
      return;
    }
    this.#waiting++;
    this.#from.pause();
    setTimeout(() => {
      this.#waiting--;
      this.#write(bytes);
    }, delayMs);
  }

  #write(bytes: Buffer): void {
    if (!this.#to.writable) return;
    if (!this.#to.write(bytes)) this.#from.pause();
    else if (!this.#frozen) this.#from.resume();
  }

  #ended(how: 'end' | 'close'): void {
    if (this.#frozen) {
      this.#held = how;
      return;
    }
    if (how === 'end' && this.#waiting === 0) this.#to.end();
    else setTimeout(() => this.#to.destroy(), this.#relay.delayMs);
  }
}
