import { randomBytes } from 'node:crypto';
import { type RawSocket, type SocketHandler, unattended } from '../socket/raw-socket.js';
import { Conversation, type ConversationEnd } from '../wire/conversation.js';
import { encodeLineBytes, encodeLineMessage, LineDecoder, NONCE_DIGITS } from '../wire/line.js';

/** The pauses (ms) between two hellos that were not answered: the first, which doubles, and the longest. */
const MIN_HELLO_PAUSE_MS = 50;
const MAX_HELLO_PAUSE_MS = 1_000;

const WHY: Record<ConversationEnd, string> = {
  bye: 'the other end closed the channel',
  anew: 'the other end of the line has begun anew: its process was restarted, or has given up',
  echo: 'what is sent comes back: there is an echo at the other end, and no portferry',
};

/** Hears what becomes of a LineSocket before it is handed out. */
export interface LineOwner {
  /** The two ends have agreed: the socket is connected, paused and without a handler. */
  onAgreed(): void;
  /** It is gone before that. */
  onFailed(error: Error | undefined): void;
}

/**
 * The channel on a line with two ends, which has no connections: a virtio-serial port. It stands when both ends have
 * agreed on a conversation, and closes when the other end has left, or begun anew; see SPEC.md, section 15.
 */
export class LineSocket implements RawSocket, SocketHandler {
  readonly remote = undefined;
  readonly local = undefined;
  readonly #line: RawSocket;
  readonly #owner: LineOwner;
  readonly #decoder = new LineDecoder();
  readonly #conversation: Conversation;
  /** Whether this end counts as the one that connected. */
  first = false;
  #handler: SocketHandler = unattended;
  /** Whose memory the next read goes into. */
  #lender: SocketHandler = unattended;
  /** Plain bytes that are to be delivered before the rest: given back, or more than the handler wanted. */
  #leftover: Buffer | undefined;
  /** What was read before the handler came or wanted more, and is not decoded yet. */
  #rest: Buffer | undefined;
  #agreedOnce = false;
  #paused = false;
  #closed = false;
  #failure: NodeJS.ErrnoException | undefined;
  #timer: NodeJS.Timeout | undefined;

  /**
   * Begins the conversation.
   * @param line connected, or connecting; it is this socket's from then on
   */
  constructor(line: RawSocket, owner: LineOwner, nonce = randomBytes(NONCE_DIGITS / 2).toString('hex')) {
    this.#line = line;
    this.#owner = owner;
    this.#conversation = new Conversation(nonce, {
      onSend: (message) => {
        // A line that nobody reads is not to be filled with hellos, whatever comes from it: there is another one soon.
        if (this.#conversation.state === 'greeting' && this.unsent > 0) return;
        line.send(encodeLineMessage(message));
      },
      onAgreed: (first) => this.#agreed(first),
      onOver: (end) => this.#over(end),
    });
    line.setHandler(this);
    this.#greet(MIN_HELLO_PAUSE_MS);
  }

  get unsent(): number {
    return this.#line.unsent;
  }

  get destroyed(): boolean {
    return this.#line.destroyed;
  }

  get fd(): number {
    return this.#line.fd;
  }

  setHandler(handler: SocketHandler): void {
    const missedClose = this.#closed && this.#handler === unattended;
    this.#handler = handler;
    if (missedClose) process.nextTick(() => handler.onClose(this.#failure));
  }

  unread(bytes: Buffer): void {
    this.#leftover = bytes;
  }

  send(bytes: Uint8Array): boolean {
    return this.#line.send(encodeLineBytes(bytes));
  }

  /** A line has no half-close: the other end takes it for the end of the channel. */
  end(): void {
    this.#conversation.leave();
  }

  pause(): void {
    this.#paused = true;
    this.#line.pause();
  }

  resume(): void {
    if (this.destroyed) return;
    this.#paused = false;
    const leftover = this.#leftover;
    this.#leftover = undefined;
    if (leftover) this.#deliver(leftover);
    const rest = this.#rest;
    if (this.#paused || this.destroyed) return;
    this.#rest = undefined;
    if (!rest || this.#read(rest, rest.length, false)) this.#line.resume();
  }

  closeWhenSent(): void {
    this.#conversation.leave();
    this.#line.closeWhenSent();
  }

  reset(): void {
    this.destroy();
  }

  destroy(error?: NodeJS.ErrnoException): void {
    // The other end cannot see that this one closes; but behind bytes that wait, nothing more is sent.
    if (this.unsent === 0) this.#conversation.leave();
    this.#line.destroy(error);
  }

  // ---- what the line tells ---------------------------------------------------------------------------

  nextMemory(): Buffer {
    this.#lender = this.#handler;
    return this.#handler.nextMemory();
  }

  onRead(memory: Buffer, length: number): boolean {
    return this.#read(memory, length, true);
  }

  /** Whoever was at the other end has gone. The line is closed at once: written to, it would keep a core busy. */
  onEnd(): void {
    this.#handler.onEnd();
    this.destroy();
  }

  onSent(): void {
    this.#handler.onSent();
  }

  onClose(error: NodeJS.ErrnoException | undefined): void {
    clearTimeout(this.#timer);
    const agreed = this.#agreedOnce;
    this.#conversation.leave();
    this.#closed = true;
    this.#failure = error;
    if (agreed) this.#handler.onClose(error);
    else this.#owner.onFailed(error);
  }

  // ---- inside ----------------------------------------------------------------------------------------

  #greet(pauseMs: number): void {
    this.#conversation.greet();
    this.#timer = setTimeout(() => this.#greet(Math.min(2 * pauseMs, MAX_HELLO_PAUSE_MS)), pauseMs);
  }

  #agreed(first: boolean): void {
    clearTimeout(this.#timer);
    this.first = first;
    this.#agreedOnce = true;
    this.#paused = true;
    this.#owner.onAgreed();
  }

  #over(end: ConversationEnd): void {
    if (end === 'bye') this.#handler.onEnd();
    this.#line.destroy(end === 'bye' ? undefined : new Error(WHY[end]));
  }

  /**
   * @param lent whether the handler has lent `memory`
   * @returns whether more is wanted; what is left is kept
   */
  #read(memory: Buffer, length: number, lent: boolean): boolean {
    let at = 0;
    while (at < length && !this.#paused && !this.destroyed) {
      const { length: plain, next, message } = this.#decoder.decode(memory, at, length);
      // Before the two ends have agreed, plain bytes are of an earlier conversation.
      if (plain > 0 && this.#agreedOnce) {
        if (lent && at === 0 && this.#lender === this.#handler)
          this.#paused = !this.#handler.onRead(memory, plain) || this.#paused;
        else this.#deliver(memory.subarray(at, at + plain));
      }
      at = next;
      if (message && !this.destroyed) this.#conversation.handle(message);
    }
    if (at < length) this.#rest = Buffer.from(memory.subarray(at, length));
    return !this.#paused;
  }

  /** Copies to the handler's memory; what it does not want for now is kept. */
  #deliver(plain: Buffer): void {
    let at = 0;
    while (at < plain.length && !this.#paused && !this.destroyed) {
      const memory = this.#handler.nextMemory();
      const length = plain.copy(memory, 0, at);
      at += length;
      if (!this.#handler.onRead(memory, length)) this.#paused = true;
    }
    if (at < plain.length) this.#leftover = Buffer.from(plain.subarray(at));
  }
}
