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

/**
 * A TCP or unix socket as the data path uses it: reads go into memory that the handler provides (no
 * allocation and no node:stream queue per read), send() says whether the kernel has taken everything, and
 * ending (FIN), resetting (RST) and half-closing are told apart.
 *
 * It works on node:net's `onread` option. A socket that exists already, made without that option, is adopted
 * through its 'data' events, at the price of a copy.
 */
export class RawSocket {
  readonly socket: net.Socket;
  readonly #tcp: boolean;
  #handler: SocketHandler;
  /** Bytes of a 'data' event that the handler did not want yet; only for adopted sockets. */
  #leftover: Buffer | undefined;
  readonly #onSent = (): void => {
    if (this.#unsentSeen) {
      this.#unsentSeen = this.socket.writableLength > 0;
      this.#handler.onSent();
    }
  };
  #unsentSeen = false;

  private constructor(handler: SocketHandler, tcp: boolean, existing?: net.Socket, handle?: unknown) {
    this.#handler = handler;
    this.#tcp = tcp;
    this.socket = existing ?? this.#makeSocket(handle);
    if (existing) existing.on('data', (chunk) => this.#deliver(chunk));
    let failure: NodeJS.ErrnoException | undefined;
    this.socket.on('error', (error) => {
      failure = error;
    });
    this.socket.on('end', () => this.#handler.onEnd());
    this.socket.on('close', () => this.#handler.onClose(failure));
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

  /** The next events go to `handler`. */
  setHandler(handler: SocketHandler): void {
    this.#handler = handler;
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

  /** Sends FIN after what was sent; reading goes on. */
  end(): void {
    this.socket.end();
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    const rest = this.#leftover;
    if (rest) {
      this.#leftover = undefined;
      this.#deliver(rest);
      if (this.#leftover) return;
    }
    this.socket.resume();
  }

  /** Ends both directions at once, so that a TCP peer sees RST. A unix socket knows no RST and is closed. */
  reset(): void {
    if (this.socket.destroyed) return;
    if (this.#tcp && !this.socket.connecting) this.socket.resetAndDestroy();
    else this.socket.destroy();
  }

  /** Ends the socket when everything sent has gone to the kernel, whether or not the peer has ended. */
  closeWhenSent(): void {
    this.socket.destroySoon();
  }

  #makeSocket(handle: unknown): net.Socket {
    const onread: net.OnReadOpts = {
      buffer: () => this.#handler.nextMemory(),
      callback: (length, memory) => this.#handler.onRead(memory as Buffer, length),
    };
    // `handle` and `manualStart` are what node:net's own server passes; its types leave them out.
    const options = {
      onread,
      allowHalfOpen: true,
      writableHighWaterMark: NO_HIGH_WATER_MARK,
      manualStart: true,
    };
    return new net.Socket(
      handle === undefined ? options : ({ ...options, handle } as net.SocketConstructorOpts),
    );
  }

  #deliver(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const memory = this.#handler.nextMemory();
      const length = chunk.copy(memory, 0, at);
      at += length;
      if (!this.#handler.onRead(memory, length)) {
        this.socket.pause();
        if (at < chunk.length) this.#leftover = chunk.subarray(at);
        return;
      }
    }
  }
}
