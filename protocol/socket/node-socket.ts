import net from 'node:net';
import {
  type RawSocket,
  type SocketAddress,
  type SocketHandler,
  type SocketPeer,
  unattended,
} from './raw-socket.js';

/**
 * node:net's write buffer must never ask a writer to pause: send() tells by itself what the kernel took, and
 * windows bound what waits.
 */
const NO_HIGH_WATER_MARK = 1 << 30;

/** The internal Node interface that tells whether the OS still has the connection. */
interface TcpHandle {
  getpeername?(into: object): number;
}

/**
 * Makes sure that an end of the peer's bytes is one. When a peer's last bytes and its RST arrive together,
 * libuv on Linux reads the bytes, sees the hang-up, and reports an end without asking for the error: what was
 * cut short would look complete. Only a closed connection is suspect, and reading once more tells which it is.
 */
class EndCheckingSocket extends net.Socket {
  #suspected = false;

  /** node:net reports an end with null, and with an 'onread' option nothing else. */
  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    if (this.#suspected || this.#isConnected()) return super.push(chunk, encoding);
    this.#suspected = true;
    this.pause();
    this.resume();
    return false;
  }

  #isConnected(): boolean {
    const handle = (this as { _handle?: TcpHandle })._handle;
    return handle?.getpeername?.({}) === 0;
  }
}

/**
 * A RawSocket by node:net's public interface: for a Node that lacks the handles of HandleSocket. A socket that
 * connects reads through node:net's `onread` option. One that exists already, made without that option, is
 * adopted through its 'data' events, at the price of a copy, and without the check of EndCheckingSocket.
 */
export class NodeSocket implements RawSocket {
  readonly socket: net.Socket;
  readonly #tcp: boolean;
  readonly #adopted: boolean;
  #handler: SocketHandler;
  /** Whose memory the next read goes into: not the present handler's when that was set only now. */
  #lender: SocketHandler | undefined;
  /** Bytes that were read but that no handler has taken yet; not for adopted sockets. */
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

  private constructor(handler: SocketHandler, tcp: boolean, existing?: net.Socket) {
    this.#handler = handler;
    this.#tcp = tcp;
    this.#adopted = existing !== undefined;
    this.socket = existing ?? this.#makeSocket();
    if (existing) existing.on('data', (chunk) => this.#deliver(chunk));
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
  static connect(address: SocketAddress, handler: SocketHandler, onConnect: () => void): NodeSocket {
    const raw = new NodeSocket(handler, !('path' in address));
    raw.socket.once('connect', () => {
      if (!raw.#resetDue) onConnect();
    });
    if ('path' in address) raw.socket.connect(address);
    else raw.socket.connect({ ...address, noDelay: true });
    return raw;
  }

  /** Wraps a paused socket that was made elsewhere. Nothing is read before resume(). */
  static adopt(socket: net.Socket, tcp: boolean, handler: SocketHandler): NodeSocket {
    if (tcp) socket.setNoDelay(true);
    return new NodeSocket(handler, tcp, socket);
  }

  setHandler(handler: SocketHandler): void {
    const missedClose = this.#closed && this.#handler === unattended;
    this.#handler = handler;
    if (missedClose) process.nextTick(() => handler.onClose(this.#failure));
  }

  unread(bytes: Buffer): void {
    // An adopted socket's own queue holds back the end, too, until the bytes have gone.
    if (this.#adopted) this.socket.unshift(bytes);
    else this.#leftover = bytes;
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
    return (this.socket as { _handle?: { fd?: number } | null })._handle?.fd ?? -1;
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
    else this.socket.destroySoon();
  }

  #makeSocket(): net.Socket {
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
    const Socket = this.#tcp ? EndCheckingSocket : net.Socket;
    const options = { onread, allowHalfOpen: true, writableHighWaterMark: NO_HIGH_WATER_MARK };
    return new Socket(options);
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
