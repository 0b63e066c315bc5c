import { messageOf, OperationError } from '../errors.js';
import type { FrameRing } from '../frame-ring.js';
import type { Multiplexer } from '../multiplexer.js';
import type { Logger } from '../program/logger.js';
import type { SlabPool } from '../slab.js';
import type { RawSocket } from '../socket/raw-socket.js';
import type { Stream, StreamHandler } from '../stream.js';
import type { ChannelTap } from '../tap.js';
import { handshakeAdvice } from '../transport/advice.js';
import { type ChannelAddress, type ChannelMode, describeAddress } from '../transport/channel-address.js';
import { checkConnectable, connectChannel } from '../transport/connect-channel.js';
import { LineSocket } from '../transport/line-socket.js';
import { type ChannelListener, listenForChannel } from '../transport/listen-for-channel.js';
import type { StandardDescriptors } from '../transport/stdio.js';
import type { Destination } from '../wire/destination.js';
import type { Reason, Source } from '../wire/extension.js';
import type { Feature, PeerIdentity } from '../wire/handshake.js';
import { BackOff } from './back-off.js';
import { Channel } from './channel.js';
import { ChannelLog } from './channel-log.js';
import { Newcomers, SIGN_OF_LIFE_TIMEOUT_MS } from './newcomers.js';
import type { Obstacle, StreamOpener } from './stream-opener.js';
import { windDown } from './wind-down.js';

/** How long (ms) a command may take until its other end's handshake is there: logging in, starting a container. */
const COMMAND_HANDSHAKE_TIMEOUT_MS = 30_000;

/** How long (ms) streams in flight may take to finish when their process is told to stop. */
export const STOP_GRACE_MS = 10_000;

export interface KeeperOwner {
  /** There is a channel again, and streams can be opened. */
  onUp(multiplexer: Multiplexer): void;
  /** The peer has opened a stream. */
  onStream(stream: Stream, source: Source | undefined): void;
  /** What the time without a channel has cost, for people; asked once it is over. Undefined: nothing. */
  toll?(): string | undefined;
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
  /** How long (ms) a peer may be silent while another one waits for its place. Default: SIGN_OF_LIFE_TIMEOUT_MS. */
  signOfLifeMs?: number;
  /** Gets the frames of every channel, one after the other. Default: nobody does. */
  frames?: FrameRing;
  /** What stdio: is. Default: this process's own. */
  standard?: StandardDescriptors;
  /** How addresses are connected to and listened on. Default: by the system. */
  transport?: ChannelTransport;
  /** What to announce. Default: everything. */
  features?: readonly Feature[];
}

/** Where a keeper gets sockets from; each as the function of that name. */
export interface ChannelTransport {
  connectChannel: typeof connectChannel;
  listenForChannel: typeof listenForChannel;
}

const SYSTEM: ChannelTransport = { connectChannel, listenForChannel };

/** What is known of the channel at a moment. */
export interface KeeperState {
  state: 'connected' | 'waiting';
  mode: ChannelMode;
  address: string;
  since: Date;
  peer: PeerIdentity | undefined;
  lastError: string | undefined;
  /** When that was. */
  lastErrorAt: Date | undefined;
  reconnects: number;
  streams: number;
  roundTripMs: number | undefined;
}

/**
 * Sees to it that there is one channel: connects again and again with back-off, or listens. A second peer gets
 * the place of one that is silent, and else is turned away.
 */
export class ChannelKeeper implements StreamOpener {
  readonly #options: KeeperOptions;
  readonly #log: ChannelLog;
  readonly #newcomers: Newcomers;
  #channel: Channel | undefined;
  #listener: ChannelListener | undefined;
  readonly #stopping = new AbortController();
  readonly #backOff: BackOff;
  #retryTimer: NodeJS.Timeout | undefined;
  #since = new Date();
  #lastError: string | undefined;
  #lastErrorAt: Date | undefined;
  #channels = 0;
  #tap: ChannelTap | undefined;
  #onIdle: (() => void) | undefined;
  #onGone: (() => void) | undefined;
  /** Resolves when the last command of exec: has ended: it may take longer than its channel. */
  #commandGone: Promise<void> = Promise.resolve();
  /**
   * Only of stdio:, where no channel follows the first: resolves when that has ended in good order.
   * @throws OperationError with the reason when it has ended otherwise
   */
  readonly over: Promise<void>;
  #settleOver: { resolve(): void; reject(error: OperationError): void } | undefined;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.over = new Promise((resolve, reject) => {
      this.#settleOver = { resolve, reject };
    });
    // Nobody may wait for it.
    this.over.catch(() => {});
    this.#log = new ChannelLog(options.logger);
    this.#backOff = new BackOff(options.address.kind === 'exec');
    this.#newcomers = new Newcomers(options.signOfLifeMs ?? SIGN_OF_LIFE_TIMEOUT_MS, (why) =>
      this.#log.turnedAway(why),
    );
  }

  /**
   * Begins to listen or to connect.
   * @throws OperationError when the address cannot be listened on, or is none that could be connected to; else
   * connecting is tried until stop()
   */
  async start(): Promise<void> {
    const { mode, address, logger, standard, transport = SYSTEM } = this.#options;
    if (mode === 'connect') {
      checkConnectable(address, standard);
      void this.#connect();
      return;
    }
    this.#listener = await transport.listenForChannel(
      address,
      (socket) => this.#accept(socket),
      (err) => this.#log.notAccepted(err),
    );
    if (this.#stopping.signal.aborted) await this.#listener.close();
    else logger.info(`waiting for the channel on ${describeAddress(this.#listener.address)}`);
  }

  /** The multiplexer of the live channel, once its peer is known. */
  get multiplexer(): Multiplexer | undefined {
    const multiplexer = this.#channel?.multiplexer;
    return multiplexer?.peer ? multiplexer : undefined;
  }

  /** From now on `tap` sees the bytes of this channel and of those that follow; undefined: nobody does. */
  observe(tap: ChannelTap | undefined): void {
    this.#tap = tap;
    this.#attachTap();
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
      address: describeAddress(this.#listener?.address ?? address),
      since: this.#since,
      peer: multiplexer?.peer,
      lastError: this.#lastError,
      lastErrorAt: this.#lastErrorAt,
      reconnects: Math.max(0, this.#channels - 1),
      streams: multiplexer?.streams.size ?? 0,
      roundTripMs: this.#channel?.roundTripMs,
    };
  }

  /**
   * Sees to it that the state is true: of a channel on which nothing has been heard for a while nobody knows whether
   * its peer is alive. Resolves at once where that is known, and else when it is, within two seconds.
   */
  async probe(): Promise<void> {
    await this.#channel?.probe();
  }

  /**
   * Ends in good order: the peer is told, streams may finish, then the channel is closed.
   * @param graceMs how long streams in flight may take
   */
  async stop(reason: Reason, graceMs: number): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#retryTimer);
    this.#newcomers.take()?.reset();
    this.#log.flush();
    await this.#listener?.close();
    await this.#endChannel(reason, graceMs);
    await this.#commandGone;
  }

  async #endChannel(reason: Reason, graceMs: number): Promise<void> {
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
    return windDown(multiplexer, { reason, graceMs, logger: this.#options.logger, empty });
  }

  // ---- having a socket -------------------------------------------------------------------------------

  async #connect(): Promise<void> {
    const { address, standard, transport = SYSTEM } = this.#options;
    try {
      const socket = await transport.connectChannel(address, {
        signal: this.#stopping.signal,
        onLine: (line) => this.#log.commandSaid(line),
        ...(standard && { standard }),
      });
      // Who has started this process for its standard input and output is the end that connects; on a line, the two
      // ends have agreed which is.
      this.#begin(socket, socket instanceof LineSocket ? socket.first : address.kind !== 'stdio');
    } catch (thrown) {
      this.#failed(messageOf(thrown));
    }
  }

  #accept(socket: RawSocket): void {
    const present = this.#channel;
    if (present?.multiplexer.peer && !this.#stopping.signal.aborted) {
      void this.#newcomers.arrived(socket, present);
      return;
    }
    // Who has connected and says nothing must not keep the real peer waiting.
    present?.multiplexer.fail({
      code: 'SUPERSEDED',
      message: 'another peer came before this one had said what it is',
    });
    this.#begin(socket, false);
  }

  #begin(socket: RawSocket, dialled: boolean): void {
    if (this.#stopping.signal.aborted) {
      socket.reset();
      return;
    }
    const { version, pool, owner, address, frames, features } = this.#options;
    const channel = new Channel(socket, {
      dialled,
      ...(address.kind === 'exec' && { handshakeTimeoutMs: COMMAND_HANDSHAKE_TIMEOUT_MS }),
      version,
      ...(features && { features }),
      pool,
      tap: this.#tap,
      frames,
      owner: {
        onReady: (peer) => this.#ready(channel, peer),
        onStream: (stream, source) => owner.onStream(stream, source),
        onGoAway: (reason) => this.#log.goingAway(reason, channel.multiplexer.streams.size > 0),
        onIdle: () => this.#onIdle?.(),
        onEnd: (reason, cause) => this.#ended(channel, reason, cause),
      },
    });
    this.#channel = channel;
    if (address.kind === 'exec') this.#commandGone = channel.closed;
  }

  #ready(channel: Channel, peer: PeerIdentity): void {
    this.#channels++;
    this.#since = new Date();
    this.#backOff.reset();
    const { owner, version } = this.#options;
    this.#log.up(peer, version, owner.toll?.());
    // Not now: the rest of what has been read is still to be decoded.
    queueMicrotask(() => this.#attachTap());
    owner.onUp(channel.multiplexer);
  }

  /** A channel whose handshake is under way gets it as soon as that is complete, and loses it at once. */
  #attachTap(): void {
    const channel = this.#channel;
    if (!channel || channel.tap === this.#tap) return;
    if (channel.multiplexer.peer || !this.#tap) channel.observe(this.#tap);
  }

  #ended(channel: Channel, reason: Reason, cause: unknown): void {
    // Not one by one: a peer that has found out how may do it again and again.
    if (cause !== undefined) this.#log.bug(cause, reason);
    const wasUp = channel.multiplexer.peer !== undefined;
    this.#channel = undefined;
    this.#since = wasUp ? new Date() : this.#since;
    this.#onIdle?.();
    this.#onGone?.();
    if (wasUp) {
      this.#noteError(reason.message);
      this.#options.owner.onDown(reason);
    }
    const advice = wasUp ? '' : handshakeAdvice(this.#options.address);
    this.#failed(reason.message + advice, reason.code, wasUp);
    const newcomer = this.#newcomers.take();
    if (newcomer) this.#begin(newcomer, false);
  }

  #noteError(message: string): void {
    this.#lastError = message;
    this.#lastErrorAt = new Date();
  }

  /** There is no channel, and why; then try again. */
  #failed(message: string, code?: string, wasUp = false): void {
    if (this.#stopping.signal.aborted) return;
    const { mode, address } = this.#options;
    this.#noteError(message);
    const inOrder = this.#log.down(message, code, describeAddress(address), this.#next, wasUp);
    if (address.kind === 'stdio') {
      if (inOrder) this.#settleOver?.resolve();
      else
        this.#settleOver?.reject(
          new OperationError(`the channel over ${describeAddress(address)} ended: ${message}`),
        );
    } else if (mode === 'connect') {
      void this.#commandGone.then(() => this.#retryLater());
    }
  }

  #retryLater(): void {
    if (this.#stopping.signal.aborted) return;
    this.#retryTimer = setTimeout(() => void this.#connect(), this.#backOff.next());
  }

  /** What is done about an outage, in words. */
  get #next(): string {
    if (this.#options.address.kind === 'stdio') return 'this program ends';
    if (this.#options.mode === 'connect') return 'connecting again until it works';
    return this.#newcomers.waiting ? 'the next one is there' : 'waiting for the next one';
  }
}
