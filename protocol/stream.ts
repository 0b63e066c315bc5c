import { EarlyPayload } from './early-payload.js';
import { ProtocolError } from './errors.js';
import { SMALL_PAYLOAD_BYTES } from './outbox.js';
import type { Slab, SlabPool } from './slab.js';
import { Stopwatch } from './stopwatch.js';
import { ReceiveWindow, SendWindow, type WindowBudget } from './window.js';
import type { Destination } from './wire/destination.js';
import type { OpenResult, OpenStep, Reason } from './wire/extension.js';
import { DATA_HEADER_BYTES } from './wire/frame.js';

/**
 * After a large payload a stream counts as one of requests again when so many small ones have come in a row. A bulk
 * transfer sends small ones, too: the rest of a read, or of a window. But never so many one after the other.
 */
export const SMALL_IN_A_ROW = 4;

/** How a stream ended, as far as this end did not end it by itself. */
export type StreamEnd =
  /** Both ends are done; everything has arrived. */
  | { how: 'closed' }
  /** The guest could not reach the destination. `result` is missing when the peer cannot say why. */
  | { how: 'refused'; result: OpenResult | undefined }
  /** The peer gave up: what has arrived is not all there was. */
  | { how: 'reset'; reason: Reason }
  /** The channel ended under it. */
  | { how: 'lost'; reason: Reason };

/** What a stream tells the thing at this end of it: a splice or a Duplex. */
export interface StreamHandler {
  /**
   * Payload: `slab` from `start` up to `end`, valid during the call. To keep it, add a hold and release it
   * later. Call stream.consumed() for every byte once it has been taken, at once or later.
   */
  onData(slab: Slab, start: number, end: number): void;
  /** The peer has sent its last byte (half-close). */
  onShutdown(): void;
  /** What write() kept has gone: the source may go on. */
  onWritable(): void;
  /** The guest's answer to our Open has come; only from a peer that announced open-result. */
  onOpenResult(result: OpenResult): void;
  /** The stream is over, not by reset() of this end. Called at most once, and last. */
  onClosed(end: StreamEnd): void;
}

/** What a stream needs of its multiplexer. */
export interface StreamCarrier {
  readonly pool: SlabPool;
  readonly budget: WindowBudget;
  /** Sends a small payload; false when there is no room for it at present. */
  sendSmall(id: number, from: Buffer, start: number, end: number): boolean;
  /** Sends from a slab in place; false when the link takes nothing at present. */
  sendInPlace(id: number, slab: Slab, start: number, end: number): boolean;
  sendShutdown(id: number): void;
  /** Ends this side of the stream: Close, or Reset where there is a reason and the peer knows it. */
  sendClose(id: number, reason: Reason | undefined): void;
  sendOpenResult(id: number, result: OpenResult): void;
  /** Sends the stream's next Window with the next flush. */
  scheduleWindow(stream: Stream): void;
  /** Whether a stream waits for its turn. */
  readonly othersWait: boolean;
  /** Gives the stream its turn as soon as the link takes something. */
  waitForTurn(stream: Stream): void;
  /** Bytes that either end may send on a new stream before it has got a Window. */
  readonly earlyData: number;
  /** Whether a violating stream can be reset without ending the channel. */
  readonly canReset: boolean;
  /** A clock in ms that only goes forward. */
  now(): number;
  /** Runs a function before any other event, but not within the present one; what it throws ends the channel. */
  runSoon(run: () => void): void;
  /** Both sides have closed: the id is free. */
  release(stream: Stream): void;
}

const ignore = (): void => {};

/** Stands in until the owner has accepted a stream that the peer has opened; early data does not get here. */
export const notAccepted: StreamHandler = {
  onData: ignore,
  onShutdown: ignore,
  onWritable: ignore,
  onOpenResult: ignore,
  onClosed: ignore,
};

/** One forwarded connection inside the channel. */
export class Stream {
  readonly id: number;
  readonly destination: Destination;
  /** Whether the other end opened it. */
  readonly #openedByPeer: boolean;
  readonly #carrier: StreamCarrier;
  #handler: StreamHandler;
  readonly #sendWindow: SendWindow;
  readonly #receiveWindow: ReceiveWindow;
  /** What write() took but could not send yet: the source is paused exactly while there is some. */
  #pending: Slab | undefined;
  #pendingStart = 0;
  #pendingEnd = 0;
  #shutdownWanted = false;
  /** While payload waits for the peer's Window, and while the peer has none of ours left; made when they are needed. */
  #sendStall: Stopwatch | undefined;
  #receiveStall: Stopwatch | undefined;
  #early: EarlyPayload | undefined;
  /** Small payloads received since the last large one. Without end before that: a new stream is one of requests. */
  #smallInARow = Number.POSITIVE_INFINITY;
  #shutdownSent = false;
  #shutdownReceived = false;
  #closeSent = false;
  /** The handler has been told of the end, or has ended the stream itself. */
  #over = false;
  /** Whether the last that was said came from the end that opened the stream: an answer may be under way. */
  #openerSpokeLast = false;
  /** What the handler has been told. */
  #end: StreamEnd | undefined;
  #result: OpenResult | undefined;
  #resetReason: Reason | undefined;

  constructor(
    id: number,
    destination: Destination,
    openedByPeer: boolean,
    carrier: StreamCarrier,
    handler: StreamHandler,
  ) {
    this.id = id;
    this.destination = destination;
    this.#openedByPeer = openedByPeer;
    this.#carrier = carrier;
    this.#handler = handler;
    this.#sendWindow = new SendWindow(carrier.earlyData);
    this.#receiveWindow = new ReceiveWindow(carrier.budget, carrier.earlyData);
  }

  /** Payload bytes sent, without what waits. */
  get bytesSent(): number {
    return this.#sendWindow.sent;
  }

  /** Payload bytes received. */
  get bytesReceived(): number {
    return this.#receiveWindow.received;
  }

  /** How long (ms) payload has waited here because the peer had allowed no more. */
  get sendStalledMs(): number {
    return this.#sendStall?.elapsed ?? 0;
  }

  /** How long (ms) the peer was allowed to send nothing, since what it had sent was not taken here. */
  get receiveStalledMs(): number {
    return this.#receiveStall?.elapsed ?? 0;
  }

  /** Memory that read into can be sent from without a copy. */
  get pool(): SlabPool {
    return this.#carrier.pool;
  }

  /** Whether nothing more comes out of the stream or goes into it, as seen from this end. */
  get over(): boolean {
    return this.#over || this.#closeSent;
  }

  /** Whether the peer has ended its direction, by half-close or entirely. */
  get shutdownReceived(): boolean {
    return this.#shutdownReceived;
  }

  /** Whether the peer sends requests or answers here; now and then a bulk transfer sends little, too. */
  get interactive(): boolean {
    return this.#smallInARow >= SMALL_IN_A_ROW;
  }

  /**
   * Whether nothing is under way, as far as can be seen from here: all that came has been taken, and the last
   * that was said is the answer of the end that was asked. One that says nothing for long may say more, though.
   */
  get idle(): boolean {
    return !this.over && !this.#openerSpokeLast && !this.#pending && this.#receiveWindow.waiting === 0;
  }

  /** One line for `portferry dump`. */
  describe(): string {
    const w = this.#sendWindow;
    const r = this.#receiveWindow;
    const flags = [
      this.#shutdownSent && 'shutdown-sent',
      this.#shutdownReceived && 'shutdown-received',
      this.#closeSent && 'close-sent',
      this.#pending && `pending=${this.#pendingEnd - this.#pendingStart}`,
    ].filter(Boolean);
    return `sent=${w.sent}/${w.allowed} received=${r.received}/${r.allowed} unread=${r.waiting} ${flags.join(' ')}`;
  }

  // ---- this end's side -------------------------------------------------------------------------------

  /**
   * Takes a stream the peer has opened: from now on `handler` hears of it, and the peer may send. What has
   * happened before, such as early data or a half-close, it hears of soon after this call.
   */
  accept(handler: StreamHandler): void {
    if (this.#end || this.#shutdownReceived || this.#early) {
      this.#carrier.runSoon(() => this.#acceptLate(handler));
      return;
    }
    this.#handler = handler;
    if (this.#carrier.earlyData === 0) this.#carrier.scheduleWindow(this);
  }

  /** Tells the opener that the destination was reached; `micros` is how long that took. */
  reportConnected(micros: number): void {
    if (!this.over) this.#carrier.sendOpenResult(this.id, { step: 'connected', micros, reason: undefined });
  }

  /** Tells the opener that the destination was not reached, and why, and ends the stream. */
  refuse(step: OpenStep, reason: Reason, micros = 0): void {
    if (this.over) return;
    this.#carrier.sendOpenResult(this.id, { step, micros, reason });
    this.#early = undefined;
    this.#finish(undefined);
  }

  /**
   * Sends bytes of a slab. A small payload is copied; a larger one is sent from where it lies, and the stream
   * holds the slab as long as it needs it. The DATA_HEADER_BYTES before `start` get overwritten.
   * @param lent the slab will be overwritten as soon as this returns, hold or not: copy what must wait
   * @returns false when some had to be kept: write no more before onWritable
   */
  write(slab: Slab, start: number, end: number, lent: boolean): boolean {
    const length = end - start;
    if (length === 0 || this.over || this.#shutdownWanted) return true;
    this.#openerSpokeLast = !this.#openedByPeer;
    if (length <= this.#sendWindow.available && this.#carrier.sendSmall(this.id, slab.bytes, start, end)) {
      this.#sendWindow.spend(length);
      return true;
    }
    if (lent) {
      this.#keep(this.pool.copyOf(slab, start, end), DATA_HEADER_BYTES, DATA_HEADER_BYTES + length);
    } else {
      slab.holds++;
      this.#keep(slab, start, end);
    }
    // Those who wait come first, also when this stream has just had its turn and its source goes on at once.
    if (!this.#carrier.othersWait) this.#sendPending();
    if (!this.#pending) return true;
    this.#waitToSend();
    return false;
  }

  /** Half-closes: after what waits, nothing more is sent. */
  shutdown(): void {
    if (this.over || this.#shutdownWanted) return;
    this.#shutdownWanted = true;
    this.#openerSpokeLast = !this.#openedByPeer;
    if (!this.#pending) this.#sendShutdown();
  }

  /**
   * Gives the stream up, both directions: what waits is dropped, and the peer is told why if it can be. The handler
   * hears nothing more, also where the stream was about to end in good order.
   */
  reset(reason: Reason): void {
    if (this.over) {
      this.#over = true;
      return;
    }
    this.#early = undefined;
    this.#finish(reason);
  }

  /** Breaks the stream for a reason that lies at neither end of it: the peer is told, and the handler. */
  cut(reason: Reason): void {
    if (this.over) return;
    this.#early = undefined;
    this.#finish(reason);
    this.#tellEnd({ how: 'reset', reason });
  }

  /** Accounts for received bytes that have been taken, so that the peer may send more. */
  consumed(bytes: number): void {
    this.#receiveWindow.consume(bytes);
    if (this.#receiveWindow.due && !this.#shutdownReceived && !this.over) this.#carrier.scheduleWindow(this);
  }

  // ---- the multiplexer's side ------------------------------------------------------------------------

  /** The allowance for the Window frame that is about to be sent; undefined when none is due any more. */
  nextWindow(now: number): number | undefined {
    if (this.over || this.#shutdownReceived) return undefined;
    this.#receiveStall?.stop();
    return this.#receiveWindow.grant(now);
  }

  /** The stream's turn on the link: sends one quantum, which is what one read has brought. */
  takeTurn(): void {
    this.#sendPending();
    if (this.#pending) this.#waitToSend();
    else if (!this.over) this.#handler.onWritable();
  }

  /** @throws ProtocolError WINDOW_SHRANK or WINDOW_TOO_LARGE when the stream alone cannot be reset */
  handleWindow(allowed: number): void {
    if (this.over) return;
    if (allowed > Number.MAX_SAFE_INTEGER) {
      this.#violate('WINDOW_TOO_LARGE', `window beyond 2^53-1 on stream ${this.id}`);
      return;
    }
    const before = this.#sendWindow.allowed;
    if (!this.#sendWindow.allow(allowed)) {
      this.#violate('WINDOW_SHRANK', `window ${allowed} on stream ${this.id}, which had ${before} before`);
      return;
    }
    if (!this.#pending || this.#sendWindow.available === 0) return;
    this.#sendStall?.stop();
    this.#carrier.waitForTurn(this);
  }

  /**
   * Accounts for payload that is announced.
   * @returns whether there is some to be delivered; otherwise it must be skipped
   * @throws ProtocolError WINDOW_EXCEEDED when the stream alone cannot be reset
   */
  expectData(length: number): boolean {
    if (this.over || length === 0) return false;
    this.#openerSpokeLast = this.#openedByPeer;
    if (this.#shutdownReceived) {
      this.#violate('WINDOW_EXCEEDED', `${length} bytes on stream ${this.id} after its Shutdown`);
      return false;
    }
    if (this.#receiveWindow.receive(length)) {
      this.#smallInARow = length < SMALL_PAYLOAD_BYTES ? this.#smallInARow + 1 : 0;
      if (this.#receiveWindow.spent) this.#exhausted();
      return true;
    }
    const { received, allowed } = this.#receiveWindow;
    this.#violate(
      'WINDOW_EXCEEDED',
      `received ${received + length} bytes on stream ${this.id}, allowed ${allowed}`,
    );
    return false;
  }

  handlePayload(slab: Slab, start: number, end: number): void {
    if (this.over) return;
    if (this.#handler !== notAccepted) this.#handler.onData(slab, start, end);
    else {
      this.#early ??= new EarlyPayload(this.#carrier.earlyData);
      this.#early.add(slab, start, end);
    }
  }

  handleShutdown(): void {
    if (this.#shutdownReceived || this.over) return;
    this.#shutdownReceived = true;
    this.#openerSpokeLast = this.#openedByPeer;
    this.#receiveStall?.stop();
    this.#handler.onShutdown();
    if (this.#shutdownSent && !this.over) this.#close();
  }

  handleOpenResult(result: OpenResult): void {
    if (this.over || this.#result || this.#openedByPeer) return;
    this.#result = result;
    if (result.step === 'connected') this.#handler.onOpenResult(result);
  }

  handleReset(reason: Reason): void {
    this.#resetReason = reason;
    this.handleClose();
  }

  handleClose(): void {
    if (!this.#over) {
      const end = this.#endByClose();
      if (!this.#closeSent) this.#close();
      this.#tellEnd(end);
    }
    if (this.#closeSent) this.#carrier.release(this);
  }

  /** The channel is gone: the handler hears of it, and nothing is held any more. */
  lose(reason: Reason): void {
    this.#drop();
    if (!this.#over) this.#tellEnd({ how: 'lost', reason });
  }

  // ---- inside ----------------------------------------------------------------------------------------

  #acceptLate(handler: StreamHandler): void {
    this.#handler = handler;
    const early = this.#early;
    this.#early = undefined;
    if (early) handler.onData(early.slab, early.start, early.end);
    const endedByHandler = this.#over && !this.#end;
    if (endedByHandler) return;
    if (this.#shutdownReceived) handler.onShutdown();
    if (this.#end) handler.onClosed(this.#end);
  }

  #keep(slab: Slab, start: number, end: number): void {
    this.#pending = slab;
    this.#pendingStart = start;
    this.#pendingEnd = end;
  }

  #sendPending(): void {
    const slab = this.#pending;
    const start = this.#pendingStart;
    const length = Math.min(this.#pendingEnd - start, this.#sendWindow.available);
    if (!slab || length === 0 || !this.#carrier.sendInPlace(this.id, slab, start, start + length)) return;
    this.#sendWindow.spend(length);
    this.#pendingStart += length;
    if (this.#pendingStart < this.#pendingEnd) return;
    this.#dropPending();
    if (this.#shutdownWanted) this.#sendShutdown();
  }

  #dropPending(): void {
    if (this.#pending) this.#carrier.pool.release(this.#pending);
    this.#pending = undefined;
  }

  /** What is pending waits for the link, or else for a Window, which brings the next turn. */
  #waitToSend(): void {
    if (this.#sendWindow.available > 0) {
      this.#carrier.waitForTurn(this);
      return;
    }
    this.#sendStall ??= new Stopwatch(() => this.#carrier.now());
    this.#sendStall.start();
  }

  /** The peer waits for a Window, if it has more to send. */
  #exhausted(): void {
    this.#receiveStall ??= new Stopwatch(() => this.#carrier.now());
    this.#receiveStall.start();
  }

  #sendShutdown(): void {
    this.#shutdownSent = true;
    this.#carrier.sendShutdown(this.id);
    if (this.#shutdownReceived) this.#close();
  }

  /** Ends this side in good order; the handler hears of the end when the peer's Close comes. */
  #close(): void {
    this.#closeSent = true;
    this.#drop();
    this.#carrier.sendClose(this.id, undefined);
  }

  /** Ends this side by the handler's own wish, which therefore hears nothing more. */
  #finish(reason: Reason | undefined): void {
    this.#over = true;
    this.#closeSent = true;
    this.#drop();
    this.#carrier.sendClose(this.id, reason);
  }

  #tellEnd(end: StreamEnd): void {
    this.#over = true;
    this.#end = end;
    this.#handler.onClosed(end);
  }

  #drop(): void {
    this.#dropPending();
    this.#sendStall?.stop();
    this.#receiveStall?.stop();
    this.#receiveWindow.release();
  }

  #endByClose(): StreamEnd {
    if (this.#result && this.#result.step !== 'connected') return { how: 'refused', result: this.#result };
    if (this.#resetReason) return { how: 'reset', reason: this.#resetReason };
    if (this.#shutdownReceived) return { how: 'closed' };
    if (!this.#openedByPeer && !this.#result && this.bytesReceived === 0)
      return { how: 'refused', result: undefined };
    const message = 'the peer closed the stream without ending its direction first';
    return { how: 'reset', reason: { code: 'CLOSED_EARLY', message } };
  }

  /** The peer broke this stream's rules: it is reset, or the channel ends where that cannot be said. */
  #violate(code: ProtocolError['code'], message: string): void {
    if (!this.#carrier.canReset) throw new ProtocolError(code, message);
    this.#finish({ code, message });
    this.#tellEnd({ how: 'reset', reason: { code, message } });
  }
}
