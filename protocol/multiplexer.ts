import { messageOf, OperationError, ProtocolError } from './errors.js';
import type { FrameRing } from './frame-ring.js';
import { type Link, MAX_QUEUED_CONTROL_BYTES, Outbox } from './outbox.js';
import { Sharing } from './sharing.js';
import type { Slab, SlabPool } from './slab.js';
import { notAccepted, Stream, type StreamCarrier, type StreamHandler } from './stream.js';
import type { MidFrame } from './tap.js';
import { MAX_WINDOW_BYTES, WindowBudget } from './window.js';
import { FrameDecoder, type FrameSink } from './wire/decoder.js';
import type { Destination } from './wire/destination.js';
import {
  decodeOpenResult,
  decodePong,
  decodeReason,
  decodeSource,
  EARLY_DATA_BYTES,
  encodeGoAway,
  encodeOpenResult,
  encodePing,
  encodePong,
  encodeReset,
  encodeSource,
  type OpenResult,
  type Reason,
  type Source,
} from './wire/extension.js';
import {
  Command,
  encodeOpen,
  FRAME_HEADER_BYTES,
  MAX_STREAM_ID,
  putHeader,
  putWindow,
  WINDOW_FRAME_BYTES,
} from './wire/frame.js';
import {
  decodeIdentity,
  encodeHandshake,
  FEATURES,
  type Feature,
  HandshakeDecoder,
  type PeerIdentity,
} from './wire/handshake.js';

/** Streams of one channel, both directions together. Each costs the guest one descriptor. */
export const MAX_STREAMS = 65_536;

/** What a multiplexer tells the one who made it. */
export interface MultiplexerOwner {
  /** The peer's handshake is here: streams can be opened. */
  onReady(peer: PeerIdentity): void;
  /** The peer has opened a stream: call accept() or refuse() on it, now or later. */
  onStream(stream: Stream, source: Source | undefined): void;
  /** The peer will take no new streams. Called once, however often the peer says so. */
  onGoAway(reason: Reason): void;
  /** The answer to ping(). */
  onPong(token: number): void;
  /** The last stream has ended. */
  onIdle(): void;
  /**
   * The multiplexer is over, every stream with it. Called once.
   * @param cause what was thrown, where a bug of our own has ended it; never for what a peer did
   */
  onEnd(reason: Reason, cause?: unknown): void;
}

export interface MultiplexerOptions {
  link: Link;
  owner: MultiplexerOwner;
  pool: SlabPool;
  /** Whether this end connected; it then allocates stream ids from the top downwards. */
  dialled: boolean;
  /** portferry's version, for the handshake. */
  version: string;
  /** What to announce; everything unless a test or an experiment wants less. */
  features?: readonly Feature[];
  /** Streams at once. Default: MAX_STREAMS. */
  maxStreams?: number;
  /** Runs a function when this turn of the event loop has seen all its events. Default: setImmediate. */
  defer?: (run: () => void) => void;
  /** A clock in ms that only goes forward. Default: performance.now. */
  now?: () => number;
  /** Gets each frame that is sent or received, but for the handshake. Default: nobody does. */
  frames?: FrameRing | undefined;
}

/** Late or unknown frames that were skipped, by kind: a peer's bug or a harmless race, never an error. */
export interface SkippedFrames {
  data: number;
  dataBytes: number;
  control: number;
  /** Of a later version, or of a feature that is not on. */
  unknown: number;
  /** The command of the last of them. */
  lastUnknown?: number;
}

/**
 * Carries many streams over one byte stream.
 *
 * A state machine without I/O of its own: bytes come in through receive(), go out through the link it was
 * given, and the link reports with drained() and ended().
 */
export class Multiplexer implements FrameSink<Slab>, StreamCarrier {
  readonly pool: SlabPool;
  readonly budget = new WindowBudget();
  readonly skipped: SkippedFrames = { data: 0, dataBytes: 0, control: 0, unknown: 0 };
  readonly #link: Link;
  readonly #owner: MultiplexerOwner;
  readonly #outbox: Outbox;
  readonly #streams = new Map<number, Stream>();
  readonly #maxStreams: number;
  readonly #announced: readonly Feature[];
  readonly #defer: (run: () => void) => void;
  readonly #frames: FrameRing | undefined;
  readonly now: () => number;
  readonly #idStep: 1 | -1;
  #nextId: number;
  readonly #handshake = new HandshakeDecoder();
  readonly #decoder = new FrameDecoder<Slab>(this);
  #peer: PeerIdentity | undefined;
  /** What both ends have announced. */
  #features: ReadonlySet<Feature> = new Set();
  #earlyData = 0;
  /** Streams whose payload waits for the link, in the order of their turns. */
  readonly #waiting = new Set<Stream>();
  /** Streams whose next Window goes out with the next flush. */
  readonly #windowsDue = new Set<Stream>();
  /** Where the payload that comes next belongs; undefined when it is skipped. */
  #receiver: Stream | undefined;
  readonly #sharing: Sharing;
  /** Told, once, that the channel is used. */
  #onUsed: (() => void) | undefined;
  /** What a Source frame said of the stream that the next frame opens. */
  #source: { id: number; source: Source } | undefined;
  #peerGoesAway: Reason | undefined;
  #goAwaySent = false;
  #flushScheduled = false;
  #ended = false;
  readonly #flushLater = (): void => {
    this.#flushScheduled = false;
    this.#frames?.turn();
    this.#guard(() => this.#flush());
    this.#frames?.turn();
  };

  /** Sends this end's handshake at once. */
  constructor(options: MultiplexerOptions) {
    this.pool = options.pool;
    this.#link = options.link;
    this.#owner = options.owner;
    this.#outbox = new Outbox(options.link, options.pool);
    this.#maxStreams = options.maxStreams ?? MAX_STREAMS;
    this.#announced = options.features ?? FEATURES;
    this.#defer = options.defer ?? setImmediate;
    this.#frames = options.frames;
    this.now = options.now ?? (() => performance.now());
    this.#sharing = new Sharing(this.now);
    this.#idStep = options.dialled ? -1 : 1;
    this.#nextId = options.dialled ? MAX_STREAM_ID : 0;
    this.#outbox.addFrame(encodeHandshake(options.version, this.#announced));
    this.#outbox.flush();
  }

  /** Who is at the other end; undefined until its handshake is here. */
  get peer(): PeerIdentity | undefined {
    return this.#peer;
  }

  get streams(): ReadonlyMap<number, Stream> {
    return this.#streams;
  }

  /** Where in the peer's bytes the next frame begins. */
  get midFrame(): MidFrame {
    return this.#decoder.midFrame;
  }

  /** Whether open() would work now. */
  get takesStreams(): boolean {
    return this.#peer !== undefined && !this.#ended && !this.#peerGoesAway && !this.#goAwaySent;
  }

  // ---- what the owner does ---------------------------------------------------------------------------

  /**
   * Opens a stream to a destination at the other end.
   * @param source told to a peer that announced `source`
   * @throws OperationError when no stream can be opened now
   * @throws RangeError or Error when the destination or the source cannot be encoded
   */
  open(destination: Destination, handler: StreamHandler, source?: Source): Stream {
    if (!this.takesStreams)
      throw new OperationError(
        `the channel takes no new streams${this.#peerGoesAway ? `: ${this.#peerGoesAway.message}` : ''}`,
      );
    if (this.#streams.size >= this.#maxStreams)
      throw new OperationError(`the channel carries ${this.#streams.size} streams, which is its limit`);
    const id = this.#allocateId();
    // Both throw on what cannot be encoded: before there is a stream, which nobody would end.
    const sourceFrame = source && this.#has('source') ? encodeSource(id, source) : undefined;
    const openFrame = encodeOpen(id, destination);
    const stream = new Stream(id, destination, false, this, handler);
    this.#streams.set(id, stream);
    if (sourceFrame) this.#addFrame(Command.source, id, sourceFrame);
    this.#addFrame(Command.open, id, openFrame);
    if (this.#earlyData > 0) this.#scheduleFlush();
    else this.scheduleWindow(stream);
    if (this.#onUsed) this.#used();
    return stream;
  }

  /** Asks the peer for a sign of life. @returns false when it does not know pings */
  ping(token: number): boolean {
    if (!this.#has('ping')) return false;
    this.#addFrame(Command.ping, 0, encodePing(token));
    this.#scheduleFlush();
    return true;
  }

  /** Calls back once, when next a stream is opened here, or half-closed, or payload goes either way. */
  onceUsed(used: () => void): void {
    this.#onUsed = used;
  }

  /** Tells the peer to open no more streams; those that exist go on. */
  goAway(reason: Reason): void {
    this.#goAwaySent = true;
    if (!this.#has('goaway')) return;
    this.#addFrame(Command.goAway, 0, encodeGoAway(reason));
    this.#scheduleFlush();
  }

  /** Ends the multiplexer in good order: what was sent goes out, the streams are over. */
  close(reason: Reason): void {
    if (this.#ended) return;
    this.#outbox.sendLast();
    this.#end(reason);
    this.#link.close();
  }

  /**
   * Ends the multiplexer at once.
   * @param cause see MultiplexerOwner.onEnd
   */
  fail(reason: Reason, cause?: unknown): void {
    if (this.#ended) return;
    this.#end(reason, cause);
    this.#link.destroy();
    this.#outbox.releaseSent();
  }

  /** The state of everything, as text, for people. */
  describe(): string {
    const lines = [`${this.#streams.size} streams, ${this.#waiting.size} waiting for the link`];
    lines.push(`skipped frames: ${JSON.stringify(this.skipped)}`);
    for (const stream of this.#streams.values()) lines.push(`stream ${stream.id} ${stream.describe()}`);
    return `${lines.join('\n')}\n`;
  }

  // ---- what the link does ----------------------------------------------------------------------------

  /** Takes received bytes: `slab` from `start` up to `end`. A stream that keeps some adds a hold. */
  receive(slab: Slab, start: number, end: number): void {
    if (this.#ended) return;
    this.#frames?.turn();
    this.#guard(() => {
      const at = this.#peer ? start : this.#receiveHandshake(slab.bytes, start, end);
      if (at < end) this.#decoder.push(slab, at, end);
      this.#flush();
    });
    this.#frames?.turn();
  }

  /** The link has sent everything it was given. */
  drained(): void {
    if (this.#ended) {
      this.#outbox.releaseSent();
      return;
    }
    this.#outbox.drained();
    this.#guard(() => this.#flush());
  }

  /** The link is gone. */
  ended(reason: Reason): void {
    this.#end(reason);
    this.#outbox.releaseSent();
  }

  // ---- StreamCarrier: what streams ask for -----------------------------------------------------------

  get earlyData(): number {
    return this.#earlyData;
  }

  get canReset(): boolean {
    return this.#has('reset');
  }

  sendSmall(id: number, from: Buffer, start: number, end: number): boolean {
    if (!this.#outbox.takesSmall(end - start)) return false;
    this.#outbox.addSmall(id, from, start, end);
    this.#frames?.sent(Command.data, id, end - start);
    this.#scheduleFlush();
    if (this.#onUsed) this.#used();
    return true;
  }

  sendInPlace(id: number, slab: Slab, start: number, end: number): boolean {
    if (this.#onUsed) this.#used();
    if (!this.#outbox.sendInPlace(id, slab, start, end)) return false;
    this.#frames?.sent(Command.data, id, end - start);
    return true;
  }

  sendShutdown(id: number): void {
    this.#sendBare(Command.shutdown, id);
    if (this.#onUsed) this.#used();
  }

  sendClose(id: number, reason: Reason | undefined): void {
    if (reason && this.canReset) this.#addFrame(Command.reset, id, encodeReset(id, reason));
    else this.#sendBare(Command.close, id);
    this.#scheduleFlush();
  }

  sendOpenResult(id: number, result: OpenResult): void {
    if (!this.#has('open-result')) return;
    this.#addFrame(Command.openResult, id, encodeOpenResult(id, result));
    this.#scheduleFlush();
  }

  get othersWait(): boolean {
    return this.#waiting.size > 0;
  }

  scheduleWindow(stream: Stream): void {
    this.#windowsDue.add(stream);
    this.#scheduleFlush();
  }

  runSoon(run: () => void): void {
    queueMicrotask(() => this.#guard(run));
  }

  waitForTurn(stream: Stream): void {
    this.#waiting.add(stream);
    this.#scheduleFlush();
  }

  release(stream: Stream): void {
    this.#streams.delete(stream.id);
    this.#waiting.delete(stream);
    this.#windowsDue.delete(stream);
    this.#sharing.forget(stream);
    if (this.#streams.size === 0) this.#owner.onIdle();
  }

  // ---- FrameSink: what the peer sends ----------------------------------------------------------------

  handleOpen(id: number, destination: Destination): void {
    this.#frames?.received(Command.open, id, 0);
    const source = this.#source?.id === id ? this.#source.source : undefined;
    this.#source = undefined;
    if (this.#streams.has(id))
      throw new ProtocolError('STREAM_ID_IN_USE', `Open with id ${id}, which is in use`);
    if (this.#streams.size >= this.#maxStreams)
      this.#refuse(id, 'EAGAIN', `the channel's limit of ${this.#maxStreams} streams is reached`);
    else if (this.#goAwaySent) this.#refuse(id, 'ESHUTDOWN', 'this end takes no new streams: it is stopping');
    else {
      const stream = new Stream(id, destination, true, this, notAccepted);
      this.#streams.set(id, stream);
      this.#owner.onStream(stream, source);
    }
  }

  handleClose(id: number): void {
    this.#frames?.received(Command.close, id, 0);
    this.#streamOf(id)?.handleClose();
  }

  handleShutdown(id: number): void {
    this.#frames?.received(Command.shutdown, id, 0);
    this.#streamOf(id)?.handleShutdown();
  }

  handleWindow(id: number, allowed: number): void {
    this.#frames?.received(Command.window, id, allowed);
    this.#streamOf(id)?.handleWindow(allowed);
  }

  handleData(id: number, length: number): void {
    this.#frames?.received(Command.data, id, length);
    if (this.#onUsed) this.#used();
    const stream = this.#streams.get(id);
    this.#receiver = stream?.expectData(length) ? stream : undefined;
    if (this.#receiver) {
      this.#sharing.received(this.#receiver);
      return;
    }
    // What no stream expects is skipped; so much of it that no window ever allowed it is no late frame.
    if (length > MAX_WINDOW_BYTES)
      throw new ProtocolError(
        'PAYLOAD_TOO_LARGE',
        `Data of ${length} bytes for stream ${id}, which expects none; at most ${MAX_WINDOW_BYTES} are skipped`,
      );
    this.skipped.data++;
    this.skipped.dataBytes += length;
  }

  handlePayload(slab: Slab, start: number, end: number): void {
    this.#receiver?.handlePayload(slab, start, end);
  }

  handleExtension(command: number, id: number, body: Buffer): void {
    this.#frames?.received(command, id, 0);
    if (command === Command.openResult && this.#has('open-result'))
      this.#handleOpenResult(id, decodeOpenResult(body));
    else if (command === Command.reset && this.#has('reset')) this.#handleReset(id, decodeReason(body));
    else if (command === Command.ping && this.#has('ping'))
      this.#addFrame(Command.pong, id, encodePong(body));
    else if (command === Command.pong && this.#has('ping')) this.#owner.onPong(decodePong(body));
    else if (command === Command.source && this.#has('source'))
      this.#source = { id, source: decodeSource(body) };
    else if (command === Command.goAway && this.#has('goaway')) this.#handleGoAway(decodeReason(body));
    else this.handleUnknown(command);
  }

  handleUnknown(command: number): void {
    this.skipped.unknown++;
    this.skipped.lastUnknown = command;
  }

  // ---- inside ----------------------------------------------------------------------------------------

  #used(): void {
    const onUsed = this.#onUsed;
    this.#onUsed = undefined;
    onUsed?.();
  }

  /** Answers an Open without keeping anything of it, however many come. The peer's Close will be skipped. */
  #refuse(id: number, code: string, message: string): void {
    this.sendOpenResult(id, { step: 'policy', micros: 0, reason: { code, message } });
    this.sendClose(id, undefined);
  }

  #handleOpenResult(id: number, result: OpenResult): void {
    this.#streamOf(id)?.handleOpenResult(result);
  }

  #handleReset(id: number, reason: Reason): void {
    this.#streamOf(id)?.handleReset(reason);
  }

  /** The stream that a control frame is for; a late frame, for one that is gone, is counted. */
  #streamOf(id: number): Stream | undefined {
    const stream = this.#streams.get(id);
    if (!stream) this.skipped.control++;
    return stream;
  }

  #handleGoAway(reason: Reason): void {
    if (this.#peerGoesAway) {
      this.skipped.control++;
      return;
    }
    this.#peerGoesAway = reason;
    this.#owner.onGoAway(reason);
  }

  #receiveHandshake(bytes: Buffer, start: number, end: number): number {
    const at = this.#handshake.push(bytes, start, end);
    if (this.#handshake.payload) {
      const peer = decodeIdentity(this.#handshake.payload);
      this.#peer = peer;
      this.#features = new Set(this.#announced.filter((feature) => peer.features.has(feature)));
      this.#earlyData = this.#has('early-data') ? EARLY_DATA_BYTES : 0;
      this.#owner.onReady(peer);
    }
    return at;
  }

  #has(feature: Feature): boolean {
    return this.#features.has(feature);
  }

  #allocateId(): number {
    const id = freeStreamId(this.#nextId, this.#idStep, this.#streams);
    this.#nextId = (id + this.#idStep) >>> 0;
    return id;
  }

  #addFrame(command: number, id: number, frame: Buffer): void {
    this.#outbox.addFrame(frame);
    this.#frames?.sent(command, id, 0);
  }

  #sendBare(command: typeof Command.close | typeof Command.shutdown, id: number): void {
    this.#outbox.addShort(FRAME_HEADER_BYTES, (into, at) =>
      putHeader(into, at, FRAME_HEADER_BYTES, command, id),
    );
    this.#frames?.sent(command, id, 0);
    this.#scheduleFlush();
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    this.#defer(this.#flushLater);
  }

  /** Sends what is collected: windows and other control frames first, then each waiting stream in turn. */
  #flush(): void {
    if (this.#outbox.overflowed)
      throw new ProtocolError(
        'PEER_DOES_NOT_READ',
        `${MAX_QUEUED_CONTROL_BYTES} bytes of control frames wait for a peer that does not read them`,
      );
    if (this.#ended || this.#outbox.blocked) return;
    if (this.#windowsDue.size > 0) this.#addWindows();
    this.#outbox.flush();
    for (const stream of this.#waiting) {
      if (this.#outbox.blocked) return;
      this.#waiting.delete(stream);
      stream.takeTurn();
      // What the turn has added (its Shutdown, say) may still fit in before the next one's payload.
      this.#outbox.flush();
    }
  }

  #addWindows(): void {
    const now = this.now();
    this.budget.cap = this.#sharing.windowCap(now);
    for (const stream of this.#windowsDue) {
      const allowed = stream.nextWindow(now);
      if (allowed === undefined) continue;
      this.#outbox.addShort(WINDOW_FRAME_BYTES, (into, at) => putWindow(into, at, stream.id, allowed));
      this.#frames?.sent(Command.window, stream.id, allowed);
    }
    this.#windowsDue.clear();
  }

  /** Runs what may find the peer at fault, or ourselves; the channel is over then, but nothing else is. */
  #guard(run: () => void): void {
    try {
      run();
    } catch (thrown) {
      if (thrown instanceof ProtocolError) this.fail({ code: thrown.code, message: thrown.message });
      else this.fail({ code: 'INTERNAL', message: messageOf(thrown) }, thrown);
    }
  }

  #end(reason: Reason, cause?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    // The chunk that is being received may hold more frames: an Open among them would make a stream again.
    this.#decoder.stop();
    this.#outbox.discard();
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    for (const stream of streams) stream.lose(reason);
    this.#waiting.clear();
    this.#windowsDue.clear();
    this.#owner.onEnd(reason, cause);
  }
}

/** The first id that is not in use, from `first` on in the direction of `step`; ids are u32 and wrap. */
export function freeStreamId(first: number, step: 1 | -1, used: { has(id: number): boolean }): number {
  let id = first;
  while (used.has(id)) id = (id + step) >>> 0;
  return id;
}
