import {
  type RawSocket,
  type SocketHandler,
  type SocketPeer,
  unattended,
} from '../../../protocol/socket/raw-socket.js';
import { ByteQueue } from './byte-queue.js';
import type { WireObserver } from './wire-check.js';
import type { Process, Source, Step, World } from './world.js';

/** What memory that is nobody's any more is overwritten with. */
const SCRIBBLE = 0xdb;

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
  #failure: NodeJS.ErrnoException | undefined;
  #closeTold = false;
  #wantsRead = false;
  #memory: Buffer | undefined;
  #lender: SocketHandler | undefined;
  #leftover: Buffer | undefined;
  /** Sent by the other end and not read. */
  readonly #incoming = new ByteQueue();
  #finArrived = false;
  #resetArrived = false;
  #endTold = false;
  /** Given to send() and not taken. */
  readonly #pending = new ByteQueue();
  #afterSent: 'end' | 'close' | undefined;
  #finSent = false;

  private constructor(world: World, process: Process, kind: SocketKind) {
    this.world = world;
    this.process = process;
    this.kind = kind;
    world.sources.add(this);
  }

  static pair(world: World, a: Process, b: Process, kind: SocketKind): [SimulatedSocket, SimulatedSocket] {
    const first = new SimulatedSocket(world, a, kind);
    const second = new SimulatedSocket(world, b, kind);
    first.#peer = second;
    second.#peer = first;
    return [first, second];
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
    return this.#incoming.length === 0 && !this.#leftover && this.#pending.length === 0;
  }

  get unsent(): number {
    return this.#pending.length;
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
    this.#pending.push(view.subarray(taken));
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
    if (!this.world.sources.delete(this)) return;
    const wasDestroyed = this.destroyed;
    this.destroyed = true;
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
    this.#incoming.cut(keep);
    this.#peer = undefined;
    this.broken = true;
    this.lose(reset);
  }

  get onItsWay(): number {
    return this.#incoming.length;
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
    if (this.#resetArrived) steps.push({ process, what: 'reset', run: () => this.#gone(connectionReset()) });
    if (this.#pending.length > 0 && this.#room > 0)
      steps.push({ process, what: 'sent', run: () => this.#drain() });
    if (!this.#wantsRead) return;
    if (this.#incoming.length > 0) steps.push({ process, what: 'read', run: () => this.#read() });
    else if (this.#finArrived && !this.#endTold) steps.push({ process, what: 'end', run: () => this.#end() });
  }

  /** What the other end does not take is lost, and costs no room. */
  get #room(): number {
    const peer = this.#peer;
    return peer && !peer.destroyed ? this.kind.capacity - peer.#incoming.length : Number.POSITIVE_INFINITY;
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
    const length = this.#incoming.moveInto(memory, Math.min(most, memory.length));
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
    if (this.#finSent && !this.destroyed) this.#gone(undefined);
  }

  /** @returns how many bytes have gone */
  #pass(bytes: Buffer, most: number): number {
    const passed = bytes.subarray(0, most);
    if (passed.length === 0) return 0;
    const peer = this.#peer;
    if (peer && !peer.destroyed) {
      const copy = Buffer.from(passed);
      peer.#incoming.push(copy);
      this.observer?.sent(copy);
    } else this.#resetArrived = true;
    passed.fill(SCRIBBLE);
    return passed.length;
  }

  #drain(): void {
    let room = Math.min(this.#room, 1 + this.world.below(400_000));
    while (room > 0 && this.#pending.length > 0) {
      const first = this.#pending.take(room);
      room -= this.#pass(first, first.length);
    }
    this.#handler.onSent();
    if (this.unsent === 0 && this.#afterSent && !this.destroyed) this.#finish();
  }

  #finish(): void {
    if (!this.#finSent) {
      this.#finSent = true;
      this.#peer?.lose(false);
    }
    if (this.#endTold || this.#afterSent === 'close') this.#gone(undefined);
  }

  #gone(error: NodeJS.ErrnoException | undefined): void {
    this.destroyed = true;
    this.#failure = error;
    this.#pending.clear();
  }

  #tellClose(): void {
    this.world.sources.delete(this);
    this.#closeTold = true;
    this.#handler.onClose(this.#failure);
  }
}

function connectionReset(): NodeJS.ErrnoException {
  return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
}
