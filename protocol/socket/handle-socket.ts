import { isIPv6 } from 'node:net';
import {
  type AddressInto,
  type Handles,
  OWNER,
  type PipeHandle,
  type StreamHandle,
  type TcpHandle,
  type WriteRequest,
} from './handles.js';
import { openTcp } from './open-tcp.js';
import {
  type RawSocket,
  type SocketAddress,
  type SocketHandler,
  type SocketPeer,
  unattended,
} from './raw-socket.js';
import { settings } from './settings.js';
import { systemError } from './system-error.js';
import { deliverAtClose, prepareTcpHandle } from './tcp-options.js';

/**
 * A RawSocket right on libuv's handle, without node:net and node:stream. A forwarded connection costs two of
 * them, and node:net's own objects and events were most of what it cost to set one up; see
 * docs/performance.md.
 */
export class HandleSocket implements RawSocket {
  readonly #handles: Handles;
  readonly #handle: StreamHandle;
  readonly #tcp: boolean;
  #handler: SocketHandler;
  /** Where the next read goes. libuv has only its address: this reference keeps it from being freed. */
  #memory: Buffer | undefined;
  /** The handler that has lent #memory. Another one may be set before the read: it gets a copy of what comes. */
  #lender: SocketHandler | undefined;
  /** What was read and not yet delivered: given back by unread(), or more than the handler wanted. */
  #leftover: Buffer | undefined;
  #connecting = false;
  #wantsRead = false;
  #reading = false;
  #unsent = 0;
  /** What is to be done when everything has been sent. */
  #afterSent: 'end' | 'close' | undefined;
  #fin: 'none' | 'under-way' | 'sent' = 'none';
  /** An end was reported that is not to be believed before a second read has brought it, too. */
  #endSuspected = false;
  #endReceived = false;
  #destroyed = false;
  #closed = false;
  #failure: NodeJS.ErrnoException | undefined;
  /** Where it is known without asking. */
  readonly #local: SocketPeer | undefined;

  /**
   * @param handle connected, such as a listening server has just accepted; nothing is read before resume()
   * @param local its address, where the caller knows
   */
  constructor(
    handles: Handles,
    handle: StreamHandle,
    tcp: boolean,
    handler: SocketHandler = unattended,
    local?: SocketPeer,
  ) {
    this.#local = local;
    this.#handles = handles;
    this.#handle = handle;
    this.#tcp = tcp;
    this.#handler = handler;
    handle[OWNER] = this;
  }

  /** Starts to connect; reading begins by itself, unless pause() is called. */
  static connect(
    handles: Handles,
    address: SocketAddress,
    handler: SocketHandler,
    onConnect: () => void,
    keepAliveSeconds = settings.keepAliveSeconds,
  ): HandleSocket {
    const tcp = !('path' in address);
    const handle = tcp ? handles.makeTcp() : handles.makePipe();
    const socket = new HandleSocket(handles, handle, tcp, handler);
    socket.#connecting = true;
    socket.#wantsRead = true;
    const target = tcp ? `${address.host}:${address.port}` : address.path;
    const request = tcp ? new handles.TcpConnectRequest() : new handles.PipeConnectRequest();
    request.oncomplete = (status) => socket.#connected(status, target, onConnect);
    const opened = tcp && openTcp(handle as TcpHandle, isIPv6(address.host));
    if (opened) prepareTcpHandle(handle, keepAliveSeconds);
    const status = startConnecting(handle, request, address);
    if (status) process.nextTick(() => socket.destroy(systemError(status, 'connect', target)));
    else if (tcp && !opened) prepareTcpHandle(handle, keepAliveSeconds);
    return socket;
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
    return this.#unsent;
  }

  get destroyed(): boolean {
    return this.#destroyed;
  }

  get remote(): SocketPeer | undefined {
    return this.#askAddress('getpeername');
  }

  get local(): SocketPeer | undefined {
    return this.#local ?? this.#askAddress('getsockname');
  }

  get fd(): number {
    return this.#handle.fd;
  }

  send(bytes: Uint8Array): boolean {
    if (this.#destroyed) return true;
    const { streamState, writeWasAsync } = this.#handles;
    // The request is used only if the kernel does not take everything at once: mostly it serves again.
    const request = spareRequest ?? new this.#handles.WriteRequest();
    spareRequest = undefined;
    const status = this.#handle.writeBuffer(request, bytes);
    if (status !== 0 && this.#connecting) {
      // The connection has failed already, and its own error is about to be told.
      this.#unsent += bytes.length;
      return false;
    }
    if (status !== 0) {
      process.nextTick(() => this.destroy(systemError(status, 'write')));
      return true;
    }
    if (streamState[writeWasAsync] === 0) {
      spareRequest = request;
      return true;
    }
    request.owner = this;
    request.bytes = bytes;
    request.oncomplete = onWritten;
    this.#unsent += bytes.length;
    return false;
  }

  end(): void {
    this.#whenSent('end');
  }

  closeWhenSent(): void {
    this.#whenSent('close');
  }

  pause(): void {
    this.#wantsRead = false;
    if (!this.#reading) return;
    this.#reading = false;
    this.#handle.readStop();
  }

  resume(): void {
    if (this.#destroyed) return;
    this.#wantsRead = true;
    const rest = this.#leftover;
    this.#leftover = undefined;
    if (!rest || this.#deliver(rest)) this.#startReading();
  }

  reset(): void {
    if (this.#destroyed) return;
    // While a FIN is under way libuv refuses to send RST. One that connects may be a connection already for the
    // peer, which must not take this for an end: before that, the kernel sends nothing.
    const resettable = this.#tcp && this.#fin !== 'under-way';
    if (resettable && this.#handle.reset?.(() => this.#onClosed()) === 0) this.#destroyed = true;
    else this.destroy();
  }

  destroy(error?: NodeJS.ErrnoException): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#failure = error;
    this.#handle.close(() => this.#onClosed());
  }

  // ---- reading ---------------------------------------------------------------------------------------

  #startReading(): void {
    if (this.#reading || this.#connecting || !this.#wantsRead || this.#endReceived) return;
    if (!this.#memory) {
      this.#lender = this.#handler;
      this.#memory = this.#handler.nextMemory();
      this.#handle.onread = onRead;
      this.#handle.useUserBuffer(this.#memory);
    }
    this.#reading = true;
    const status = this.#handle.readStart();
    if (status !== 0) process.nextTick(() => this.destroy(systemError(status, 'read')));
  }

  /** @returns the memory for the next read, where it is another than for the last one */
  handleRead(): Buffer | undefined {
    const { streamState, readOutcome, endOfFile } = this.#handles;
    const outcome = streamState[readOutcome] as number;
    const memory = this.#memory as Buffer;
    if (this.#destroyed) return undefined;
    if (outcome < 0) {
      this.#reading = false;
      if (outcome === endOfFile) this.#handleEnd();
      else this.destroy(systemError(outcome, 'read'));
      return undefined;
    }
    const handler = this.#handler;
    const more =
      this.#lender === handler ? handler.onRead(memory, outcome) : this.#deliver(memory.subarray(0, outcome));
    if (!more) this.pause();
    if (this.#destroyed) return undefined;
    this.#lender = this.#handler;
    this.#memory = this.#handler.nextMemory();
    return this.#memory === memory ? undefined : this.#memory;
  }

  /**
   * When a peer's last bytes and its reset arrive together, libuv on Linux reads the bytes, sees the hang-up, and
   * reports an end without asking for the error: what was cut short would look complete. Reading once more tells
   * which it is. TCP needs that only where the connection is gone; of a unix socket the OS does not tell.
   */
  #handleEnd(): void {
    if (!this.#endSuspected && this.#handle.getpeername?.({ address: '', port: 0 }) !== 0) {
      this.#endSuspected = true;
      this.#startReading();
      return;
    }
    this.#endReceived = true;
    this.#handler.onEnd();
    if (this.#fin === 'sent') this.#closeInOrder();
  }

  /** @returns false when the handler wants no more for now; the rest is kept */
  #deliver(chunk: Buffer): boolean {
    let at = 0;
    while (at < chunk.length && !this.#destroyed) {
      const memory = this.#handler.nextMemory();
      const length = chunk.copy(memory, 0, at);
      at += length;
      if (!this.#handler.onRead(memory, length)) {
        if (at < chunk.length) this.#leftover = Buffer.from(chunk.subarray(at));
        return false;
      }
    }
    return true;
  }

  // ---- writing ---------------------------------------------------------------------------------------

  handleWritten(bytes: number, status: number): void {
    if (this.#destroyed) return;
    this.#unsent -= bytes;
    if (status !== 0) {
      this.destroy(systemError(status, 'write'));
      return;
    }
    this.#handler.onSent();
    if (this.#unsent === 0 && this.#afterSent && !this.#destroyed) this.#finish();
  }

  /** FIN waits for the last byte here and not in libuv: with both queued there, reset() could not send RST. */
  #whenSent(action: 'end' | 'close'): void {
    if (this.#destroyed) return;
    this.#afterSent = action;
    if (this.#unsent === 0 && !this.#connecting) this.#finish();
  }

  #finish(): void {
    if (this.#fin === 'none') {
      this.#fin = 'under-way';
      const request = new this.#handles.ShutdownRequest();
      request.oncomplete = () => this.#finSent();
      // Anything but 0 is either done at once, or a connection that the peer has ended already.
      if (this.#handle.shutdown(request) !== 0) process.nextTick(() => this.#finSent());
    } else if (this.#fin === 'sent') this.#finSent();
  }

  #finSent(): void {
    this.#fin = 'sent';
    if (this.#endReceived || this.#afterSent === 'close') this.#closeInOrder();
  }

  /** The kernel has everything, the FIN too, and is to deliver it however long the peer takes to read. */
  #closeInOrder(): void {
    if (this.#destroyed) return;
    if (this.#tcp) deliverAtClose(this.#handle.fd);
    this.destroy();
  }

  // ---- connecting and closing ------------------------------------------------------------------------

  #connected(status: number, target: string, onConnect: () => void): void {
    if (this.#destroyed) return;
    if (status !== 0) {
      this.destroy(systemError(status, 'connect', target));
      return;
    }
    this.#connecting = false;
    onConnect();
    if (this.#destroyed) return;
    this.#startReading();
    if (this.#unsent === 0 && this.#afterSent) this.#finish();
  }

  #onClosed(): void {
    this.#closed = true;
    this.#handler.onClose(this.#failure);
  }

  #askAddress(method: 'getpeername' | 'getsockname'): SocketPeer | undefined {
    const into: AddressInto = { address: '', port: 0 };
    if (!this.#tcp || this.#destroyed || this.#handle[method]?.(into) !== 0) return undefined;
    return { ip: into.address, port: into.port };
  }
}

/** A write request that no write is using. */
let spareRequest: WriteRequest | undefined;

function onRead(this: StreamHandle): Buffer | undefined {
  return (this[OWNER] as HandleSocket).handleRead();
}

function onWritten(this: WriteRequest, status: number): void {
  (this.owner as HandleSocket).handleWritten((this.bytes as Uint8Array).length, status);
}

function startConnecting(
  handle: StreamHandle,
  request: { oncomplete(status: number): void },
  address: SocketAddress,
): number | undefined {
  if ('path' in address) return (handle as PipeHandle).connect(request, address.path);
  const { host, port } = address;
  return isIPv6(host)
    ? (handle as TcpHandle).connect6(request, host, port)
    : (handle as TcpHandle).connect(request, host, port);
}
