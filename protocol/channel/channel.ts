import { Deadline } from '../deadline.js';
import { errnoOf } from '../errors.js';
import { Multiplexer, type MultiplexerOptions, type MultiplexerOwner } from '../multiplexer.js';
import type { Link } from '../outbox.js';
import type { Slab, SlabPool } from '../slab.js';
import type { RawSocket, SocketHandler } from '../socket/raw-socket.js';
import type { StreamHandler } from '../stream.js';
import type { ChannelTap } from '../tap.js';
import { type Destination, isService } from '../wire/destination.js';
import type { Reason } from '../wire/extension.js';
import { FEATURES, type PeerIdentity } from '../wire/handshake.js';
import { Heartbeat, type Load, PROBE_TIMEOUT_MS } from './heartbeat.js';

/** How long (ms) a peer may take to send its whole handshake. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;

/** What a channel's owner hears of: a multiplexer's events, but for the pongs, which the channel keeps. */
export type ChannelOwner = Omit<MultiplexerOwner, 'onPong'>;

export type ChannelOptions = Pick<
  MultiplexerOptions,
  'dialled' | 'version' | 'features' | 'maxStreams' | 'frames'
> & {
  pool: SlabPool;
  owner: ChannelOwner;
  /** Who looks at its bytes, from the handshakes on. */
  tap?: ChannelTap | undefined;
  /** How long (ms) the peer may take to send its whole handshake. Default: HANDSHAKE_TIMEOUT_MS. */
  handshakeTimeoutMs?: number;
};

/**
 * How long (ms) it is waited for what a probe brings: a little longer than for the heartbeat, which ends a channel that
 * has rested.
 */
const PROBE_WAIT_MS = PROBE_TIMEOUT_MS + 200;

/** How long (ms) a peer may take to read the last bytes of a channel that is closed; dead ones never do. */
const CLOSE_TIMEOUT_MS = 2_000;

/**
 * What a peer that knows no pings is asked to dial for a sign of life: it answers an Open at once, before it finds
 * that there is no such path. The name says in its log who has asked, and why.
 */
const NOWHERE: Destination = { proto: 'unix', path: '/portferry/are-you-there' };

const ignore = (): void => {};

/** Attends to a stream of which nothing is wanted. */
const nobody: StreamHandler = {
  onData: ignore,
  onShutdown: ignore,
  onWritable: ignore,
  onOpenResult: ignore,
  onClosed: ignore,
};

/** A multiplexer on a connected socket: moves bytes between the two, and finds out when the peer is dead. */
export class Channel implements SocketHandler, Link {
  readonly multiplexer: Multiplexer;
  /** Resolves when the socket is gone, and with it the command that it may have been; the multiplexer ends before. */
  readonly closed: Promise<void>;
  #onClosed = ignore;
  /** Nearly always nobody: it is asked for at each read and write. */
  #tap: ChannelTap | undefined;
  readonly #socket: RawSocket;
  readonly #pool: SlabPool;
  readonly #owner: ChannelOwner;
  /** Whether this end has announced pings. */
  readonly #pings: boolean;
  readonly #handshakeDeadline: Deadline;
  #closeTimer: NodeJS.Timeout | undefined;
  #slab: Slab;
  #heartbeat: Heartbeat | undefined;
  #bytesReceived = 0;
  /** Told, once each, that bytes have arrived, or that none will any more. */
  readonly #onHeard = new Set<(heard: boolean) => void>();

  /** @param socket connected; nothing but the transport's own preamble has been read from it */
  constructor(socket: RawSocket, options: ChannelOptions) {
    this.closed = new Promise((resolve) => {
      this.#onClosed = resolve;
    });
    this.#tap = options.tap;
    this.#tap?.begun();
    this.#socket = socket;
    this.#pool = options.pool;
    this.#owner = options.owner;
    this.#pings = (options.features ?? FEATURES).includes('ping');
    this.#slab = options.pool.acquire();
    const { handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS } = options;
    this.#handshakeDeadline = new Deadline(handshakeTimeoutMs);
    this.#handshakeDeadline.signal.addEventListener('abort', () => this.#handshakeLate(handshakeTimeoutMs));
    socket.setHandler(this);
    this.multiplexer = new Multiplexer({ ...options, link: this, owner: this.#multiplexerOwner() });
    // Bytes that were read too early come at once: not before this channel's maker has it.
    process.nextTick(() => socket.resume());
  }

  /** The last measured round trip to a peer that answers pings, in ms. */
  get roundTripMs(): number | undefined {
    return this.#heartbeat?.roundTripMs;
  }

  /** Who looks at its bytes. */
  get tap(): ChannelTap | undefined {
    return this.#tap;
  }

  /**
   * From now on `tap` sees the bytes, or nobody does: which frame they are in, it is told. A tap is only to be given
   * when the handshake is complete, and not while the channel is telling something.
   */
  observe(tap: ChannelTap | undefined): void {
    tap?.begun(this.multiplexer.midFrame);
    this.#tap = tap;
  }

  /**
   * Asks the peer for a sign of life: by a ping or, where it knows none, by an Open to nowhere. To be called by one
   * at a time, when the handshake is complete.
   * @returns whether anything at all has come from it within `timeoutMs`
   */
  async givesSignOfLife(timeoutMs: number): Promise<boolean> {
    const stopAsking = this.#ask();
    const heard = await this.#heard(timeoutMs);
    stopAsking();
    return heard;
  }

  /**
   * Finds out whether a peer that answers pings is there, where that is not known: a rested channel ends when it is
   * not, as when a client comes. Resolves when it is known, or after PROBE_WAIT_MS.
   */
  async probe(): Promise<void> {
    if (this.#heartbeat?.probe()) await this.#heard(PROBE_WAIT_MS);
  }

  // ---- Link ------------------------------------------------------------------------------------------

  send(bytes: Uint8Array): boolean {
    if (this.#tap) this.#tap.sent(bytes);
    return this.#socket.send(bytes);
  }

  close(): void {
    this.#socket.closeWhenSent();
    this.#closeTimer = setTimeout(() => this.#socket.reset(), CLOSE_TIMEOUT_MS);
  }

  destroy(): void {
    this.#socket.reset();
  }

  // ---- SocketHandler ---------------------------------------------------------------------------------

  nextMemory(): Buffer {
    return this.#slab.bytes;
  }

  onRead(_memory: Buffer, length: number): boolean {
    this.#bytesReceived += length;
    this.#heartbeat?.heard();
    if (this.#onHeard.size > 0) this.#tellHeard(true);
    const slab = this.#slab;
    if (this.#tap) this.#tap.received(slab.bytes.subarray(0, length));
    this.multiplexer.receive(slab, 0, length);
    if (slab.holds > 1) {
      this.#pool.release(slab);
      this.#slab = this.#pool.acquire();
    }
    return true;
  }

  onEnd(): void {
    this.multiplexer.fail({
      code: 'CHANNEL_CLOSED',
      message: this.#describeEnd('the peer closed the channel'),
    });
  }

  onSent(): void {
    if (this.#socket.unsent === 0) this.multiplexer.drained();
  }

  onClose(error: NodeJS.ErrnoException | undefined): void {
    const why = error ? `the channel failed: ${error.message}` : 'the channel was closed';
    this.multiplexer.ended({ code: errnoOf(error) ?? 'CHANNEL_CLOSED', message: this.#describeEnd(why) });
    clearTimeout(this.#closeTimer);
    this.#pool.release(this.#slab);
    this.#onClosed();
  }

  // ---- inside ----------------------------------------------------------------------------------------

  /** @returns whether something has come within that time */
  #heard(timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const deadline = new Deadline(timeoutMs);
      const tell = (heard: boolean): void => {
        deadline.end();
        resolve(heard);
      };
      deadline.signal.addEventListener('abort', () => {
        this.#onHeard.delete(tell);
        resolve(false);
      });
      this.#onHeard.add(tell);
    });
  }

  #tellHeard(heard: boolean): void {
    for (const tell of this.#onHeard) tell(heard);
    this.#onHeard.clear();
  }

  #describeEnd(what: string): string {
    if (this.multiplexer.peer) return what;
    return `${what} after ${this.#bytesReceived} bytes, before its handshake was complete`;
  }

  #handshakeLate(timeoutMs: number): void {
    this.multiplexer.fail({
      code: 'HANDSHAKE_TIMEOUT',
      message: `the peer sent ${this.#bytesReceived} bytes in ${timeoutMs / 1000} s, which are not a whole handshake`,
    });
  }

  #multiplexerOwner(): MultiplexerOwner {
    const owner = this.#owner;
    return {
      onReady: (peer) => this.#onReady(peer),
      onStream: (stream, source) => owner.onStream(stream, source),
      onGoAway: (reason) => owner.onGoAway(reason),
      onPong: (token) => this.#heartbeat?.pong(token),
      onIdle: () => owner.onIdle(),
      onEnd: (reason, cause) => this.#onMultiplexerEnd(reason, cause),
    };
  }

  #onReady(peer: PeerIdentity): void {
    this.#handshakeDeadline.end();
    // First of all: what the owner does now may end the channel, and the heartbeat with it.
    if (this.#pings && peer.features.has('ping')) this.#heartbeat = this.#startHeartbeat();
    this.#owner.onReady(peer);
  }

  #startHeartbeat(): Heartbeat {
    const { multiplexer } = this;
    return new Heartbeat({
      ping: (token) => multiplexer.ping(token),
      onSilence: (silentMs) =>
        multiplexer.fail({
          code: 'PEER_SILENT',
          message: `nothing was heard from the peer for ${(silentMs / 1000).toFixed(1)} s, though it was asked`,
        }),
      get load() {
        return loadOf(multiplexer);
      },
      onceUsed: (used) => multiplexer.onceUsed(used),
    });
  }

  /** @returns what ends the asking */
  #ask(): () => void {
    if (this.#heartbeat) {
      this.#heartbeat.ask();
      return ignore;
    }
    try {
      const stream = this.multiplexer.open(NOWHERE, nobody);
      return () => stream.reset({ code: 'DONE', message: 'nothing but a sign of life was wanted' });
    } catch {
      // It takes no streams: whatever else it does counts.
      return ignore;
    }
  }

  #onMultiplexerEnd(reason: Reason, cause: unknown): void {
    this.#handshakeDeadline.end();
    this.#heartbeat?.stop();
    this.#tellHeard(false);
    this.#owner.onEnd(reason, cause);
  }
}

function loadOf({ streams }: Multiplexer): Load {
  let load: Load = 'none';
  for (const stream of streams.values()) {
    if (isService(stream.destination)) continue;
    if (!stream.idle && !stream.over) return 'busy';
    load = 'silent';
  }
  return load;
}
