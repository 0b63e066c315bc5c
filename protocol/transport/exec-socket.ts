import { type RawSocket, type SocketHandler, unattended } from '../socket/raw-socket.js';
import { type Command, LAST_OUTPUT_MS } from './command.js';

/** How long (ms) a command may take to end when it is sent no more, or sends no more, before it is terminated. */
const END_TIMEOUT_MS = 2_000;

const OVERDUE = 'the command closed its standard input or output and went on, so that it was terminated';

/**
 * The channel that a command is. It closes when the command has ended, with how it ended as the reason; and when it
 * is closed, the command ends. So whoever waits for its close knows that nothing is left behind.
 */
export class ExecSocket implements RawSocket {
  readonly remote = undefined;
  readonly local = undefined;
  readonly #command: Command;
  readonly #socket: RawSocket;
  #handler: SocketHandler = unattended;
  /** Whether this end has closed it, and #failure is why. */
  #closedHere = false;
  #failure: NodeJS.ErrnoException | undefined;
  #outputOver = false;
  #socketClosed = false;
  #commandEnded = false;
  /** Whether it was terminated for going on without its input or output. */
  #overdue = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(command: Command) {
    this.#command = command;
    this.#socket = command.socket;
    this.setHandler(unattended);
    void command.ended.then((how) => this.#whenEnded(how));
  }

  get unsent(): number {
    return this.#socket.unsent;
  }

  get destroyed(): boolean {
    return this.#socket.destroyed;
  }

  get fd(): number {
    return this.#socket.fd;
  }

  setHandler(handler: SocketHandler): void {
    const missedClose = this.#closed && this.#handler === unattended;
    this.#handler = handler;
    this.#socket.setHandler({
      nextMemory: () => handler.nextMemory(),
      onRead: (memory, length) => handler.onRead(memory, length),
      onSent: () => handler.onSent(),
      onEnd: () => this.#onOutputEnd(),
      onClose: () => this.#onSocketClose(),
    });
    if (missedClose) process.nextTick(() => handler.onClose(this.#failure));
  }

  unread(bytes: Buffer): void {
    this.#socket.unread(bytes);
  }

  send(bytes: Uint8Array): boolean {
    return this.#socket.send(bytes);
  }

  end(): void {
    this.#socket.end();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  reset(): void {
    this.destroy();
  }

  /** The command gets the end of its input, and time to end by itself. */
  closeWhenSent(): void {
    this.#closedHere = true;
    this.#expectEnd();
  }

  destroy(error?: NodeJS.ErrnoException): void {
    if (!this.#closedHere) this.#failure = error;
    this.#closedHere = true;
    this.#socket.destroy();
    this.#command.terminate();
  }

  get #closed(): boolean {
    return this.#socketClosed && this.#commandEnded;
  }

  /** It may have ended, or only have closed its output: how it ends is known later. */
  #onOutputEnd(): void {
    this.#outputOver = true;
    if (this.#commandEnded) this.#socket.destroy();
    else this.#expectEnd();
  }

  #onSocketClose(): void {
    this.#socketClosed = true;
    if (!this.#commandEnded) this.#terminate();
    this.#closedOne();
  }

  #expectEnd(): void {
    this.#socket.end();
    this.#timer ??= setTimeout(() => this.#terminate(), END_TIMEOUT_MS);
  }

  #terminate(): void {
    this.#overdue = true;
    this.#command.terminate();
  }

  #whenEnded(how: string): void {
    this.#commandEnded = true;
    clearTimeout(this.#timer);
    if (!this.#closedHere) this.#failure = new Error(this.#overdue ? OVERDUE : how);
    if (this.#outputOver || this.#closedHere) this.#socket.destroy();
    // What it wrote last is read first.
    else this.#timer = setTimeout(() => this.#socket.destroy(), LAST_OUTPUT_MS);
    this.#closedOne();
  }

  #closedOne(): void {
    if (!this.#closed) return;
    clearTimeout(this.#timer);
    this.#handler.onClose(this.#failure);
  }
}
