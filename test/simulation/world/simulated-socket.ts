import {
  type RawSocket,
  type SocketHandler,
  type SocketPeer,
  unattended,
} from '../../../protocol/socket/raw-socket.js';
import type { Process, Source, Step, World } from './world.js';

/** What memory that is nobody's any more is overwritten with. */
const SCRIBBLE = 0xdb;

/** Who looks at what goes through a channel. */
export interface WireObserver {
  sent(bytes: Buffer): void;
  delivered(bytes: Buffer): void;
}

export interface SocketKind {
  /** Bytes that the system holds between the two ends, in each direction. */
  capacity: number;
  /** Whether a reset is told as such; else it looks like an end (a unix socket). */
  resets: boolean;
}

/**
 * One end of a connection in memory. The system in between takes as much as it likes of each write, hands over as
 * much as it likes at each read, and tells of it when it likes, but in order.
 */
export class SimulatedSocket implements RawSocket, Source {
  readonly world: World;
  readonly process: Process;
  readonly kind: SocketKind;
  readonly remote: SocketPeer | undefined = { ip: '127.0.0.1', port: 40_000 };
  readonly local: SocketPeer | undefined = { ip: '127.0.0.1', port: 8080 };
  readonly fd = -1;
  unsent = 0;
  destroyed = false;
  observer: WireObserver | undefined;
  /** Nothing goes through any more, and nobody is told. */
  frozen = false;
  /** The connection has been cut: what is sent goes nowhere. */
  broken = false;
  /** What has become of a dial, which its owner will be told; undefined while it is under way. */
  #dialled: NodeJS.ErrnoException | 'connected' | undefined;
  #onConnect: (() => void) | undefined;
  #peer: SimulatedSocket | undefined;
  #handler: SocketHandler = unattended;
  #closed = false;
  #failure: NodeJS.ErrnoException | undefined;
  #closeTold = false;
  #wantsRead = false;
  #memory: Buffer | undefined;
  #lender: SocketHandler | undefined;
  #leftover: Buffer | undefined;
  /** Sent by the other end and not read. */
  readonly #incoming: Buffer[] = [];
  #incomingBytes = 0;
  #finArrived = false;
  #resetArrived = false;
  #endTold = false;
  /** Given to send() and not taken. */
  readonly #pending: Buffer[] = [];
  #afterSent: 'end' | 'close' | undefined;
  #finSent = false;

  private constructor(world: World, process: Process, kind: SocketKind) {
    this.world = world;
    this.process = process;
    this.kind = kind;
    world.sources.add(this);
  }

  static pair(world: World, a: Process, b: Process, kind: SocketKind): [SimulatedSocket, SimulatedSocket] {
    const pair: [SimulatedSocket, SimulatedSocket] = [
      new SimulatedSocket(world, a, kind),
      new SimulatedSocket(world, b, kind),
    ];
    pair[0].#peer = pair[1];
    pair[1].#peer = pair[0];
    return pair;
  }

  /** Makes it a socket that is being connected: what is sent waits. */
  dial(onConnect: () => void): this {
    this.#onConnect = onConnect;
    this.#wantsRead = true;
    return this;
  }

  /** The dial has succeeded, or failed. */
  dialled(outcome: NodeJS.ErrnoException | 'connected'): void {
    this.#dialled = outcome;
  }

  /** Whether nothing is on its way to this end. */
  get quiet(): boolean {
    return this.#incomingBytes === 0 && !this.#leftover && this.#pending.length === 0;
  }

  // ---- RawSocket -------------------------------------------------------------------------------------

  setHandler(handler: SocketHandler): void {
    const missedClose = this.#closeTold && this.#handler === unattended;
    this.#handler = handler;
    if (missedClose) process.nextTick(() => handler.onClose(this.#failure));
  }

  unread(bytes: Buffer): void {
    this.#leftover = bytes;
  }

  send(bytes: Uint8Array): boolean {
    if (this.destroyed) return true;
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const room = this.#pending.length > 0 || this.#onConnect ? 0 : this.#room;
    const taken = this.world.chance(0.6) ? room : this.world.below(room + 1);
    if (this.#pass(view, taken) === view.length) return true;
    const rest = view.subarray(taken);
    this.#pending.push(rest);
    this.unsent += rest.length;
    return false;
  }

  end(): void {
    if (this.destroyed) return;
    this.#afterSent ??= 'end';
    if (this.unsent === 0 && !this.#onConnect) this.#finish();
  }

  closeWhenSent(): void {
    if (this.destroyed) return;
    this.#afterSent = 'close';
    if (this.unsent === 0 && !this.#onConnect) this.#finish();
  }

  pause(): void {
    this.#wantsRead = false;
  }

  resume(): void {
    if (this.destroyed) return;
    this.#wantsRead = true;
    const rest = this.#leftover;
    this.#leftover = undefined;
    if (rest && !this.#copyIn(rest)) this.#wantsRead = false;
  }

  reset(): void {
    if (this.destroyed) return;
    this.#gone(undefined);
    this.#peer?.lose(this.kind.resets);
  }

  destroy(error?: NodeJS.ErrnoException): void {
    if (this.destroyed) return;
    this.#gone(error);
    this.#peer?.lose(error !== undefined && this.kind.resets);
  }

  // ---- what others do to it --------------------------------------------------------------------------

  /** The process that has it is gone: it hears nothing, and the other end hears of a reset. */
  vanish(): void {
    if (this.#closed && this.destroyed) return;
    const wasDestroyed = this.destroyed;
    this.destroyed = true;
    this.#closed = true;
    this.world.sources.delete(this);
    if (!wasDestroyed) this.#peer?.lose(true);
  }

  /** The other end has gone. @param reset what it has sent may be lost, and this end is told so */
  lose(reset: boolean): void {
    if (this.destroyed) return;
    if (reset) this.#resetArrived = true;
    else this.#finArrived = true;
  }

  /** The connection breaks, with all but some of what is on its way to this end. */
  cut(keep: number, reset: boolean): void {
    let left = keep;
    for (const [index, bytes] of this.#incoming.entries()) {
      this.#incoming[index] = bytes.subarray(0, left);
      left -= Math.min(left, bytes.length);
    }
    this.#incomingBytes = Math.min(this.#incomingBytes, keep);
    this.#peer = undefined;
    this.broken = true;
    this.lose(reset);
  }

  get onItsWay(): number {
    return this.#incomingBytes;
  }

  // ---- steps -----------------------------------------------------------------------------------------

  offer(steps: Step[]): void {
    const { process } = this;
    if (this.destroyed) {
      steps.push({ process, what: 'close', run: () => this.#tellClose() });
      return;
    }
    if (this.frozen) return;
    if (this.#onConnect) {
      if (this.#dialled) steps.push({ process, what: 'dialled', run: () => this.#connected() });
      return;
    }
    if (this.#resetArrived) steps.push({ process, what: 'reset', run: () => this.#reset() });
    if (this.#pending.length > 0 && this.#room > 0)
      steps.push({ process, what: 'sent', run: () => this.#drain() });
    if (!this.#wantsRead) return;
    if (this.#incomingBytes > 0) steps.push({ process, what: 'read', run: () => this.#read() });
    else if (this.#finArrived && !this.#endTold) steps.push({ process, what: 'end', run: () => this.#end() });
  }

  /** What the other end does not take is lost, and costs no room. */
  get #room(): number {
    const peer = this.#peer;
    return peer && !peer.destroyed ? this.kind.capacity - peer.#incomingBytes : Number.POSITIVE_INFINITY;
  }

  #connected(): void {
    const onConnect = this.#onConnect as () => void;
    this.#onConnect = undefined;
    if (this.#dialled !== 'connected') {
      this.destroy(this.#dialled);
      return;
    }
    onConnect();
    if (!this.destroyed && this.unsent === 0 && this.#afterSent) this.#finish();
  }

  #read(): void {
    const { world } = this;
    const most = world.pick([1, 7, 12, 300, 70_000, 600_000]);
    if (this.#lender !== this.#handler || !this.#memory) this.#memory = this.#handler.nextMemory();
    this.#lender = this.#handler;
    const memory = this.#memory;
    const wanted = Math.min(most, memory.length);
    let length = 0;
    while (length < wanted && this.#incoming.length > 0) {
      const first = this.#incoming[0] as Buffer;
      const copied = first.copy(memory, length, 0, wanted - length);
      length += copied;
      if (copied === first.length) this.#incoming.shift();
      else this.#incoming[0] = first.subarray(copied);
    }
    this.#incomingBytes -= length;
    if (length === 0) return;
    world.note(`   ${length} bytes`);
    this.observer?.delivered(memory.subarray(0, length));
    if (!this.#handler.onRead(memory, length)) this.#wantsRead = false;
    if (!this.destroyed) this.#memory = this.#handler.nextMemory();
  }

  #copyIn(bytes: Buffer): boolean {
    for (let at = 0; at < bytes.length && !this.destroyed; ) {
      const memory = this.#handler.nextMemory();
      const length = bytes.copy(memory, 0, at);
      at += length;
      if (this.#handler.onRead(memory, length)) continue;
      if (at < bytes.length) this.#leftover = bytes.subarray(at);
      return false;
    }
    return true;
  }

  #end(): void {
    this.#endTold = true;
    this.#handler.onEnd();
    if (this.#finSent) this.#closeInOrder();
  }

  #reset(): void {
    this.#gone(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }));
  }

  /** @returns how many bytes have gone */
  #pass(bytes: Buffer, most: number): number {
    const passed = bytes.subarray(0, most);
    if (passed.length === 0) return 0;
    const peer = this.#peer;
    if (peer && !peer.destroyed) {
      const copy = Buffer.from(passed);
      peer.#incoming.push(copy);
      peer.#incomingBytes += copy.length;
      this.observer?.sent(copy);
    } else this.#resetArrived = true;
    passed.fill(SCRIBBLE);
    return passed.length;
  }

  #drain(): void {
    let room = Math.min(this.#room, 1 + this.world.below(400_000));
    while (room > 0 && this.#pending.length > 0) {
      const first = this.#pending[0] as Buffer;
      const passed = this.#pass(first, room);
      room -= passed;
      this.unsent -= passed;
      if (passed === first.length) this.#pending.shift();
      else this.#pending[0] = first.subarray(passed);
    }
    this.#handler.onSent();
    if (this.unsent === 0 && this.#afterSent && !this.destroyed) this.#finish();
  }

  #finish(): void {
    if (!this.#finSent) {
      this.#finSent = true;
      this.#peer?.lose(false);
    }
    if (this.#endTold || this.#afterSent === 'close') this.#closeInOrder();
  }

  #closeInOrder(): void {
    if (!this.destroyed) this.#gone(undefined);
  }

  #gone(error: NodeJS.ErrnoException | undefined): void {
    this.destroyed = true;
    this.#failure = error;
    this.#pending.length = 0;
  }

  #tellClose(): void {
    this.world.sources.delete(this);
    this.#closed = true;
    this.#closeTold = true;
    this.#handler.onClose(this.#failure);
  }
}
