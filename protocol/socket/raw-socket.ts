/** What a RawSocket tells its owner, and where it asks for memory. */
export interface SocketHandler {
  /**
   * The memory that the next read goes into. It must stay untouched until onRead, but may be shared between
   * sockets whose handlers are done with it when onRead returns.
   */
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

/** One end of a TCP connection. */
export interface SocketPeer {
  ip: string;
  port: number;
}

/**
 * A TCP or unix socket as the data path uses it: reads go into memory that the handler provides, send() says
 * whether the kernel has taken everything, and ending (FIN), resetting (RST) and half-closing are told apart.
 */
export interface RawSocket {
  /** Bytes that were sent but wait for the kernel. */
  readonly unsent: number;
  /** Whether the socket can no longer be used. */
  readonly destroyed: boolean;
  /** The other end's address; a unix socket has none. */
  readonly remote: SocketPeer | undefined;
  /** This end's address; a unix socket has none. */
  readonly local: SocketPeer | undefined;
  /** The descriptor; negative when there is none. */
  readonly fd: number;

  /**
   * The next events go to `handler`. What the earlier handler returned from nextMemory must stay untouched
   * until the next read, which may still go there; it is copied. A socket that closed while nobody attended to
   * it tells the new handler so.
   */
  setHandler(handler: SocketHandler): void;

  /** Gives bytes back that were read too early: the next resume() delivers them first. */
  unread(bytes: Buffer): void;

  /**
   * Sends bytes. While the connection is being made they wait for it.
   * @returns true when the kernel has taken all of them, so that their memory may be used again at once;
   * false when the memory belongs to the socket until onSent reports an `unsent` that no longer covers it
   */
  send(bytes: Uint8Array): boolean;

  /** Sends FIN after what was sent; reading goes on. Nothing may be sent afterwards. */
  end(): void;

  pause(): void;
  resume(): void;

  /** Ends both directions at once, so that a TCP peer sees RST. A unix socket knows no RST and is closed. */
  reset(): void;

  /** Ends the socket when everything sent has gone to the kernel, whether or not the peer has ended. */
  closeWhenSent(): void;

  /** Ends the socket at once; onClose gets the error. */
  destroy(error?: NodeJS.ErrnoException): void;
}

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
