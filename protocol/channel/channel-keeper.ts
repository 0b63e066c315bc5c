import { messageOf, OperationError } from '../errors.js';
import type { Multiplexer } from '../multiplexer.js';
import { LogLimiter } from '../program/log-limiter.js';
import type { Logger } from '../program/logger.js';
import type { SlabPool } from '../slab.js';
import type { RawSocket } from '../socket/raw-socket.js';
import type { Stream, StreamHandler } from '../stream.js';
import { type ChannelAddress, formatAddress } from '../transport/address.js';
import { connectChannel } from '../transport/connect.js';
import { type ChannelListener, listenForChannel } from '../transport/listen.js';
import type { Destination } from '../wire/destination.js';
import type { Reason, Source } from '../wire/extension.js';
import type { PeerIdentity } from '../wire/handshake.js';
import { Channel } from './channel.js';
import type { Obstacle, StreamOpener } from './stream-opener.js';
import { windDown } from './wind-down.js';

/** The pauses (ms) between attempts to connect a channel: the first, and the longest. */
const MIN_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 1_000;

/** How long (ms) streams in flight may take to finish when their process is told to stop. */
export const STOP_GRACE_MS = 10_000;

/** Which of the two ends connects is a matter of the VM, not of host or guest. */
export type ChannelMode = 'connect' | 'listen';

export interface KeeperOwner {
  /** There is a channel again, and streams can be opened. */
  onUp(multiplexer: Multiplexer): void;
  /** The peer has opened a stream. */
  onStream(stream: Stream, source: Source | undefined): void;
  /** The channel is gone; its streams have been told. */
  onDown(reason: Reason): void;
}

export interface KeeperOptions {
  mode: ChannelMode;
  address: ChannelAddress;
  /** portferry's version, for the handshake. */
  version: string;
  pool: SlabPool;
  logger: Logger;
  owner: KeeperOwner;
}

/** What is known of the channel at a moment. */
export interface KeeperState {
  state: 'connected' | 'waiting';
  mode: ChannelMode;
  address: string;
  since: Date;
  peer: PeerIdentity | undefined;
  lastError: string | undefined;
  reconnects: number;
  streams: number;
  roundTripMs: number | undefined;
}

/**
 * Sees to it that there is one channel: connects again and again with back-off, or listens. While a channel
 * lives, a second peer is turned away.
 */
export class ChannelKeeper implements StreamOpener {
  readonly #options: KeeperOptions;
  readonly #log: Logger;
  #channel: Channel | undefined;
  #listener: ChannelListener | undefined;
  readonly #bugs: LogLimiter;
  readonly #stopping = new AbortController();
  #backoffMs = MIN_BACKOFF_MS;
  #retryTimer: NodeJS.Timeout | undefined;
  /** Whether the present outage has been logged: each is logged once. */
  #outageLogged = false;
  #since = new Date();
  #lastError: string | undefined;
  #channels = 0;
  #onIdle: (() => void) | undefined;
  #onGone: (() => void) | undefined;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#log = options.logger;
    this.#bugs = new LogLimiter(options.logger);
  }

  /**
   * Begins to listen or to connect.
   * @throws OperationError when the address cannot be listened on; connecting is tried until stop()
   */
  async start(): Promise<void> {
    const { mode, address } = this.#options;
    if (mode === 'connect') {
      void this.#connect();
      return;
    }
    this.#listener = await listenForChannel(
      address,
      (socket) => this.#accept(socket),
      (err) => this.#log.error({ err }, 'cannot accept a channel; listening goes on'),
    );
    if (this.#stopping.signal.aborted) await this.#listener.close();
    else this.#log.info(`waiting for the channel on ${formatAddress(this.#listener.address)}`);
  }

  /** The multiplexer of the live channel, once its peer is known. */
  get multiplexer(): Multiplexer | undefined {
    const multiplexer = this.#channel?.multiplexer;
    return multiplexer?.peer ? multiplexer : undefined;
  }

  get takesStreams(): boolean {
    return this.multiplexer?.takesStreams === true;
  }

  get obstacle(): Obstacle {
    if (this.multiplexer) return { by: 'guest', message: 'the guest takes no new streams: it is stopping' };
    const { address, lastError = 'no guest has come yet' } = this.state;
    return {
      by: 'channel',
      message: `no channel on ${address} (${lastError}): start or check the guest`,
    };
  }

  open(destination: Destination, handler: StreamHandler, source?: Source): Stream {
    const { multiplexer } = this;
    if (!multiplexer) throw new OperationError(this.obstacle.message);
    return multiplexer.open(destination, handler, source);
  }

  get state(): KeeperState {
    const { mode, address } = this.#options;
    const { multiplexer } = this;
    return {
      state: multiplexer ? 'connected' : 'waiting',
      mode,
      address: formatAddress(this.#listener?.address ?? address),
      since: this.#since,
      peer: multiplexer?.peer,
      lastError: this.#lastError,
      reconnects: Math.max(0, this.#channels - 1),
      streams: multiplexer?.streams.size ?? 0,
      roundTripMs: this.#channel?.roundTripMs,
    };
  }

  /**
   * Ends in good order: the peer is told, streams may finish, then the channel is closed.
   * @param graceMs how long streams in flight may take
   */
  async stop(reason: Reason, graceMs: number): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#retryTimer);
    await this.#listener?.close();
    const multiplexer = this.#channel?.multiplexer;
    if (!multiplexer) return;
    multiplexer.goAway(reason);
    if (multiplexer.streams.size > 0) await this.#windDown(multiplexer, reason, graceMs);
    const gone = new Promise<void>((resolve) => {
      this.#onGone = resolve;
    });
    if (!this.#channel) return;
    multiplexer.close(reason);
    await gone;
  }

  #windDown(multiplexer: Multiplexer, reason: Reason, graceMs: number): Promise<void> {
    const empty = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
    return windDown(multiplexer, { reason, graceMs, logger: this.#log, empty });
  }

  // ---- having a socket -------------------------------------------------------------------------------

  async #connect(): Promise<void> {
    const { address } = this.#options;
    try {
      const socket = await connectChannel(address, {
        signal: this.#stopping.signal,
      });
      this.#begin(socket, true);
    } catch (thrown) {
      this.#failed(messageOf(thrown));
    }
  }

  #accept(socket: RawSocket): void {
    const present = this.#channel?.multiplexer;
    if (present?.peer) {
      socket.reset();
      this.#log.warn('a second peer wanted to be the channel while one is live: turned away');
      return;
    }
    // Who has connected and says nothing must not keep the real peer waiting.
    present?.fail({ code: 'SUPERSEDED', message: 'another peer came before this one had said what it is' });
    this.#begin(socket, false);
  }

  #begin(socket: RawSocket, dialled: boolean): void {
    if (this.#stopping.signal.aborted) {
      socket.reset();
      return;
    }
    const { version, pool, owner } = this.#options;
    const channel = new Channel(socket, {
      dialled,
      version,
      pool,
      owner: {
        onReady: (peer) => this.#ready(channel, peer),
        onStream: (stream, source) => owner.onStream(stream, source),
        onGoAway: (reason) => this.#log.info({ reason }, `the peer takes no new streams: ${reason.message}`),
        onIdle: () => this.#onIdle?.(),
        onEnd: (reason, cause) => this.#ended(channel, reason, cause),
      },
    });
    this.#channel = channel;
  }

  #ready(channel: Channel, peer: PeerIdentity): void {
    this.#channels++;
    this.#since = new Date();
    this.#backoffMs = MIN_BACKOFF_MS;
    this.#outageLogged = false;
    const features = [...peer.features];
    const who = peer.version === undefined ? 'a plain peer' : `portferry ${peer.version}`;
    this.#log.info({ features }, `the channel is up, with ${who}`);
    this.#options.owner.onUp(channel.multiplexer);
  }

  #ended(channel: Channel, reason: Reason, cause: unknown): void {
    // Not one by one: a peer that has found out how may do it again and again.
    if (cause !== undefined)
      this.#bugs.log(
        'error',
        'bug',
        { err: cause },
        `a bug of portferry has ended the channel: ${reason.message}; please report it, with this line`,
      );
    const wasUp = channel.multiplexer.peer !== undefined;
    this.#channel = undefined;
    this.#since = wasUp ? new Date() : this.#since;
    this.#onIdle?.();
    this.#onGone?.();
    if (wasUp) this.#options.owner.onDown(reason);
    this.#failed(reason.message, reason.code);
  }

  /** There is no channel, and why: logged once an outage, or whenever a peer misbehaves; then try again. */
  #failed(message: string, code?: string): void {
    if (this.#stopping.signal.aborted) return;
    this.#lastError = message;
    const misbehaved = code !== undefined && code !== 'CHANNEL_CLOSED' && !/^E[A-Z]+$/.test(code);
    const level = this.#outageLogged && !misbehaved ? 'debug' : 'warn';
    this.#outageLogged = true;
    const next =
      this.#options.mode === 'listen' ? 'waiting for the next one' : 'connecting again until it works';
    this.#log[level](
      { code, address: formatAddress(this.#options.address) },
      `no channel: ${message}; ${next}`,
    );
    if (this.#options.mode === 'listen') return;
    this.#retryTimer = setTimeout(() => void this.#connect(), this.#backoffMs);
    this.#backoffMs = Math.min(this.#backoffMs * 2, MAX_BACKOFF_MS);
  }
}
