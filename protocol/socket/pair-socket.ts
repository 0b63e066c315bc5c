import { type RawSocket, type SocketHandler, unattended } from './raw-socket.js';

/** How long (ms) the last bytes of a peer are waited for that reads no more: it has mostly sent them, and gone. */
const LAST_BYTES_MS = 1_000;

/** Two sockets or pipes, one to read from and one to write to, as one socket. */
export class PairSocket implements RawSocket {
  readonly remote = undefined;
  readonly local = undefined;
  readonly #input: RawSocket;
  readonly #output: RawSocket;
  #handler: SocketHandler = unattended;
  #inputOpen = true;
  #outputOpen = true;
  /** Whether the input is to be closed when everything has been sent. */
  #closing = false;
  #failure: NodeJS.ErrnoException | undefined;
  #lastBytesTimer: NodeJS.Timeout | undefined;

  /** @param input and `output`: connected, and without a handler; nothing is read before resume() */
  constructor(input: RawSocket, output: RawSocket) {
    this.#input = input;
    this.#output = output;
    input.setHandler(this.#inputHandler(unattended));
    output.setHandler({
      ...unattended,
      onSent: () => this.#handler.onSent(),
      onClose: (error) => this.#outputClosed(error),
    });
  }

  get unsent(): number {
    return this.#output.unsent;
  }

  get destroyed(): boolean {
    return this.#input.destroyed;
  }

  /** That of the input. */
  get fd(): number {
    return this.#input.fd;
  }

  setHandler(handler: SocketHandler): void {
    const missedClose = this.#closed && this.#handler === unattended;
    this.#handler = handler;
    // A new one each time: the input tells by it whose memory it has.
    this.#input.setHandler(this.#inputHandler(handler));
    if (missedClose) process.nextTick(() => handler.onClose(this.#failure));
  }

  unread(bytes: Buffer): void {
    this.#input.unread(bytes);
  }

  send(bytes: Uint8Array): boolean {
    return this.#output.send(bytes);
  }

  /** A pipe knows no FIN: it is closed. */
  end(): void {
    this.#output.closeWhenSent();
  }

  pause(): void {
    this.#input.pause();
  }

  resume(): void {
    this.#input.resume();
  }

  reset(): void {
    this.#input.reset();
    this.#output.reset();
  }

  closeWhenSent(): void {
    this.#closing = true;
    if (this.#outputOpen) this.#output.closeWhenSent();
    else this.#input.destroy();
  }

  destroy(error?: NodeJS.ErrnoException): void {
    this.#input.destroy(error);
    this.#output.destroy();
  }

  get #closed(): boolean {
    return !this.#inputOpen && !this.#outputOpen;
  }

  #inputHandler(handler: SocketHandler): SocketHandler {
    return {
      ...unattended,
      nextMemory: () => handler.nextMemory(),
      onRead: (memory, length) => handler.onRead(memory, length),
      onEnd: () => handler.onEnd(),
      onClose: (error) => this.#inputClosed(error),
    };
  }

  #inputClosed(error: NodeJS.ErrnoException | undefined): void {
    this.#inputOpen = false;
    this.#failure ??= error;
    this.#output.reset();
    this.#closedOne();
  }

  /**
   * A peer that goes sends its last words, such as why, and leaves: they count even if a write has found out first
   * that nobody reads any more.
   */
  #outputClosed(error: NodeJS.ErrnoException | undefined): void {
    this.#outputOpen = false;
    if (this.#closing) this.#input.destroy();
    else if (error) {
      this.#failure = error;
      this.#lastBytesTimer = setTimeout(() => this.#input.destroy(), LAST_BYTES_MS);
    }
    this.#closedOne();
  }

  #closedOne(): void {
    if (!this.#closed) return;
    clearTimeout(this.#lastBytesTimer);
    this.#handler.onClose(this.#failure);
  }
}
