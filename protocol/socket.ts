import net from 'node:net';

/** What a RawSocket tells its owner, and where it asks for memory. */
export interface SocketHandler {
  /** The memory that the next read goes into. It must stay untouched until onRead, but may be shared between
   * sockets whose handlers are done with it when onRead returns. */
  nextMemory(): Buffer;
  /**
   * `length` bytes were read to the start of `memory`.
   * @returns false to stop reading until resume()
   */
  onRead(memory: Buffer, length: number): boolean;
  /** The other end has sent its last byte (FIN). */
  onEnd(): void;
  /** Some of what send() could not hand to the kernel at once has gone; `unsent` is the rest. */
  onSent(): void;
  /** The socket is gone, with the error that ended it, if one did. Called once. */
  onClose(error: NodeJS.ErrnoException | undefined): void;
}

/** An address in literal form, so that connecting needs no resolver; or a unix socket's path. */
export type SocketAddress = { host: string; port: number } | { path: string };

/**
 * node:net's write buffer must never ask a writer to pause: send() tells by itself what the kernel took, and
 * windows bound what waits.
 */
const NO_HIGH_WATER_MARK = 1 << 30;

/** Where the first read of a socket goes whose owner has not come yet; it is copied to the owner's memory. */
const FIRST_READ = Buffer.allocUnsafeSlow(16 * 1024);

/**
 * Stands in until a socket's owner has set its handler. Such a socket is to stay paused; should it close
 * meanwhile, the owner's handler is told when it is set.
 */
export const unattended: SocketHandler = {
  nextMemory: () => FIRST_READ,
  onRead: () => false,
  onEnd() {},
  onSent() {},
  onClose() {},
};

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
 * A TCP or unix socket as the data path uses it: reads go into memory that the handler provides (no
 * allocation and no node:stream queue per read), send() says whether the kernel has taken everything, and
 * ending (FIN), resetting (RST) and half-closing are told apart.
 *
 * It works on node:net's `onread` option. A socket that exists already, made without that option, is adopted
 * through its 'data' events, at the price of a copy, and without the check of EndCheckingSocket.
 */
export class RawSocket {
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
  #closed = false;
  #failure: NodeJS.ErrnoException | undefined;
  readonly #onSent = (): void => {
    if (!this.#unsentSeen) return;
    this.#unsentSeen = this.socket.writableLength > 0;
    this.#handler.onSent();
    if (!this.#unsentSeen && this.#afterSent) this.#finish(this.#afterSent);
  };

  private constructor(handler: SocketHandler, tcp: boolean, existing?: net.Socket, handle?: unknown) {
    this.#handler = handler;
    this.#tcp = tcp;
    this.#adopted = existing !== undefined;
    this.socket = existing ?? this.#makeSocket(handle);
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
  static connect(address: SocketAddress, handler: SocketHandler, onConnect: () => void): RawSocket {
    const raw = new RawSocket(handler, !('path' in address));
    raw.socket.once('connect', onConnect);
    if ('path' in address) raw.socket.connect(address);
    else raw.socket.connect({ ...address, noDelay: true });
    return raw;
  }

  /** Wraps a handle that a listening server has just accepted. Nothing is read before resume(). */
  static fromHandle(handle: unknown, tcp: boolean, handler: SocketHandler): RawSocket {
    const raw = new RawSocket(handler, tcp, undefined, handle);
    if (tcp) raw.socket.setNoDelay(true);
    return raw;
  }

  /** Wraps a paused socket that was made elsewhere. Nothing is read before resume(). */
  static adopt(socket: net.Socket, tcp: boolean, handler: SocketHandler): RawSocket {
    if (tcp) socket.setNoDelay(true);
    return new RawSocket(handler, tcp, socket);
  }

  /**
   * The next events go to `handler`. What the earlier handler returned from nextMemory must stay untouched
   * until the next read, which may still go there; it is copied.
   */
  setHandler(handler: SocketHandler): void {
    const missedClose = this.#closed && this.#handler === unattended;
    this.#handler = handler;
    if (missedClose) process.nextTick(() => handler.onClose(this.#failure));
  }

  /** Gives bytes back that were read too early: the next resume() delivers them first. */
  unread(bytes: Buffer): void {
    // An adopted socket's own queue holds back the end, too, until the bytes have gone.
    if (this.#adopted) this.socket.unshift(bytes);
    else this.#leftover = bytes;
  }

  /** Bytes that were sent but wait for the kernel. */
  get unsent(): number {
    return this.socket.writableLength;
  }

  /** Whether the socket can no longer be used. */
  get destroyed(): boolean {
    return this.socket.destroyed;
  }

  /**
   * Sends bytes.
   * @returns true when the kernel has taken all of them, so that their memory may be used again at once;
   * false when the memory belongs to the socket until onSent reports an `unsent` that no longer covers it
   */
  send(bytes: Uint8Array): boolean {
    this.socket.write(bytes, this.#onSent);
    if (this.socket.writableLength === 0) return true;
    this.#unsentSeen = true;
    return false;
  }

  /** Sends FIN after what was sent; reading goes on. Nothing may be sent afterwards. */
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

  /** Ends both directions at once, so that a TCP peer sees RST. A unix socket knows no RST and is closed. */
  reset(): void {
    if (this.socket.destroyed) return;
    // While a FIN is under way the OS is not asked for RST: libuv would refuse, and the socket stay open.
    const finUnderWay = this.socket.writableEnded && !this.socket.writableFinished;
    if (this.#tcp && !this.socket.connecting && !finUnderWay) this.socket.resetAndDestroy();
    else this.socket.destroy();
  }

  /** Ends the socket when everything sent has gone to the kernel, whether or not the peer has ended. */
  closeWhenSent(): void {
    this.#whenSent('close');
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

  #makeSocket(handle: unknown): net.Socket {
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
    // `handle` and `manualStart` are what node:net's own server passes; its types leave them out.
    const options = {
      onread,
      allowHalfOpen: true,
      writableHighWaterMark: NO_HIGH_WATER_MARK,
      manualStart: true,
    };
    const Socket = this.#tcp ? EndCheckingSocket : net.Socket;
    return new Socket(handle === undefined ? options : ({ ...options, handle } as net.SocketConstructorOpts));
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
