import net from 'node:net';
import type { StreamHandle } from './handles.js';
import {
  type RawSocket,
  type SocketAddress,
  type SocketHandler,
  type SocketPeer,
  unattended,
} from './raw-socket.js';
import { settings } from './settings.js';
import { deliverAtClose, prepareTcp } from './tcp-options.js';

/**
 * node:net's write buffer must never ask a writer to pause: send() tells by itself what the kernel took, and
 * windows bound what waits.
 */
const NO_HIGH_WATER_MARK = 1 << 30;

/** What is used of Node's internals here: a socket's handle is moved from one net.Socket to another. */
interface Internals {
  _handle: { readonly fd?: number } | null;
}

/**
 * Takes a connection out of a socket, which is gone then.
 * @throws Error on a Node whose sockets have no handle
 */
export function takeHandle(socket: net.Socket): StreamHandle {
  const internals = socket as unknown as { _handle: StreamHandle | null };
  const handle = internals._handle;
  if (!handle) throw new Error(`a socket has no handle in Node ${process.version}`);
  // node:net may have begun to read.
  handle.readStop();
  Object.assign(handle, { reading: false });
  internals._handle = null;
  // Without its handle this closes nothing: the server counts one connection less, and so can end.
  socket.destroy();
  return handle;
}

/** What a net.Socket is made with here; `handle` is not documented. */
type SocketOptions = net.SocketConstructorOpts & {
  onread: net.OnReadOpts;
  writableHighWaterMark: number;
  handle?: Internals['_handle'];
};

/** A net.Socket whose ends are to be relied on: that of the peer's bytes, and its own. */
class HonestSocket extends net.Socket {
  /** Whether it may be closed in good order without the peer's FIN. */
  closesUnasked = false;
  #endSuspected = false;

  get fd(): number {
    return (this as unknown as Internals)._handle?.fd ?? -1;
  }

  /**
   * With an `onread` option node:net pushes nothing but an end (null). When a peer's last bytes and its reset
   * arrive together, libuv on Linux reads the bytes, sees the hang-up, and reports an end without asking for the
   * error: what was cut short would look complete. Reading once more tells which it is.
   */
  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    if (this.#endSuspected) return super.push(chunk, encoding);
    this.#endSuspected = true;
    this.pause();
    this.resume();
    return false;
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const inOrder = this.writableFinished && (this.readableEnded || this.closesUnasked);
    if (inOrder && !error) deliverAtClose(this.fd);
    super._destroy(error, done);
  }
}

/**
 * A RawSocket by node:net, for a Node that lacks the handles of HandleSocket. It reads through node:net's
 * `onread` option.
 */
export class NodeSocket implements RawSocket {
  readonly socket: HonestSocket;
  readonly #tcp: boolean;
  #handler: SocketHandler;
  /** The handler whose memory the next read goes into. If another one was set since, it gets a copy. */
  #lender: SocketHandler | undefined;
  /** What was read and not yet delivered: given back by unread(), or more than the handler wanted. */
  #leftover: Buffer | undefined;
  #unsentSeen = false;
  /** What is to be done when everything has been sent. */
  #afterSent: 'end' | 'close' | undefined;
  /** It is to be reset as soon as it is connected: node:net cannot do so before. */
  #resetDue = false;
  #closed = false;
  #failure: NodeJS.ErrnoException | undefined;
  readonly #onSent = (): void => {
    if (!this.#unsentSeen) return;
    this.#unsentSeen = this.socket.writableLength > 0;
    this.#handler.onSent();
    if (!this.#unsentSeen && this.#afterSent) this.#finish(this.#afterSent);
  };

  private constructor(
    handler: SocketHandler,
    tcp: boolean,
    handle?: Internals['_handle'],
    readable?: boolean,
  ) {
    this.#handler = handler;
    this.#tcp = tcp;
    this.socket = this.#makeSocket(handle, readable);
    this.socket.on('error', (error) => {
      this.#failure = error;
    });
    this.socket.on('end', () => this.#handler.onEnd());
    this.socket.on('close', () => {
      this.#closed = true;
      this.#handler.onClose(this.#failure);
    });
  }

  /**
   * Starts to connect; `onConnect` of node:net's 'connect' event or the handler's onClose tell the outcome.
   * Bytes may be sent at once: they go out when the connection stands.
   */
  static connect(
    address: SocketAddress,
    handler: SocketHandler,
    onConnect: () => void,
    keepAliveSeconds = settings.keepAliveSeconds,
  ): NodeSocket {
    const raw = new NodeSocket(handler, !('path' in address));
    raw.socket.once('connect', () => {
      raw.#prepare(keepAliveSeconds);
      if (!raw.#resetDue) onConnect();
    });
    if ('path' in address) raw.socket.connect(address);
    else raw.socket.connect(address);
    return raw;
  }

  /**
   * Takes over the connection of a paused socket that a server has accepted, which is gone then. Nothing is read
   * before resume().
   * @throws Error on a Node whose sockets have no handle
   */
  static adopt(
    accepted: net.Socket,
    tcp: boolean,
    handler: SocketHandler,
    keepAliveSeconds = settings.keepAliveSeconds,
  ): NodeSocket {
    const { readable } = accepted;
    const raw = new NodeSocket(handler, tcp, takeHandle(accepted), readable);
    raw.#prepare(keepAliveSeconds);
    return raw;
  }

  setHandler(handler: SocketHandler): void {
    const missedClose = this.#closed && this.#handler === unattended;
    this.#handler = handler;
    if (missedClose) process.nextTick(() => handler.onClose(this.#failure));
  }

  unread(bytes: Buffer): void {
    this.#leftover = bytes;
  }

  get unsent(): number {
    return this.socket.writableLength;
  }

  get destroyed(): boolean {
    return this.socket.destroyed || this.#resetDue;
  }

  get remote(): SocketPeer | undefined {
    return peer(this.socket.remoteAddress, this.socket.remotePort);
  }

  get local(): SocketPeer | undefined {
    return peer(this.socket.localAddress, this.socket.localPort);
  }

  get fd(): number {
    return this.socket.fd;
  }

  send(bytes: Uint8Array): boolean {
    this.socket.write(bytes, this.#onSent);
    if (this.socket.writableLength === 0) return true;
    this.#unsentSeen = true;
    return false;
  }

  end(): void {
    this.#whenSent('end');
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    if (this.socket.destroyed) return;
    const rest = this.#leftover;
    this.#leftover = undefined;
    if (!rest || this.#deliver(rest)) this.socket.resume();
  }

  reset(): void {
    if (this.destroyed) return;
    this.#resetDue = this.#tcp && this.socket.connecting;
    // While a FIN is under way the OS is not asked for RST: libuv would refuse, and the socket stay open.
    const finUnderWay = this.socket.writableEnded && !this.socket.writableFinished;
    if (this.#tcp && !finUnderWay) this.socket.resetAndDestroy();
    else this.socket.destroy();
  }

  closeWhenSent(): void {
    this.#whenSent('close');
  }

  destroy(error?: NodeJS.ErrnoException): void {
    this.socket.destroy(error);
  }

  /** node:net's own waiting is not used: with bytes and FIN queued there, reset() could not send RST. */
  #whenSent(action: 'end' | 'close'): void {
    this.#afterSent = action;
    if (this.socket.writableLength === 0) this.#finish(action);
  }

  #finish(action: 'end' | 'close'): void {
    if (action === 'end') this.socket.end();
    else {
      this.socket.closesUnasked = true;
      this.socket.destroySoon();
    }
  }

  #prepare(keepAliveSeconds: number): void {
    if (!this.#tcp || prepareTcp(this.fd, keepAliveSeconds)) return;
    this.socket.setNoDelay(true);
    if (keepAliveSeconds > 0) this.socket.setKeepAlive(true, keepAliveSeconds * 1000);
  }

  /**
   * @param handle connected; without one the socket is still to connect
   * @param readable false for one that is for writing only
   */
  #makeSocket(handle: Internals['_handle'] | undefined, readable = true): HonestSocket {
    const onread: net.OnReadOpts = {
      buffer: () => {
        this.#lender = this.#handler;
        return this.#handler.nextMemory();
      },
      callback: (length, memory) =>
        this.#lender === this.#handler
          ? this.#handler.onRead(memory as Buffer, length)
          : this.#deliver((memory as Buffer).subarray(0, length)),
    };
    const options: SocketOptions = {
      onread,
      allowHalfOpen: true,
      writableHighWaterMark: NO_HIGH_WATER_MARK,
      readable,
      ...(handle && { handle }),
    };
    const socket = new HonestSocket(options);
    return handle ? socket.pause() : socket;
  }

  /** @returns false when the handler wants no more for now; the rest is kept */
  #deliver(chunk: Buffer): boolean {
    let at = 0;
    while (at < chunk.length && !this.socket.destroyed) {
      const memory = this.#handler.nextMemory();
      const length = chunk.copy(memory, 0, at);
      at += length;
      if (!this.#handler.onRead(memory, length)) {
        this.socket.pause();
        if (at < chunk.length) this.unread(Buffer.from(chunk.subarray(at)));
        return false;
      }
    }
    return true;
  }
}

function peer(ip: string | undefined, port: number | undefined): SocketPeer | undefined {
  return ip === undefined || port === undefined ? undefined : { ip, port };
}
