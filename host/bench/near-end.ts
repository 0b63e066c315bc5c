import { OperationError } from '../../protocol/errors.js';
import { connectSocket } from '../../protocol/socket/connect-socket.js';
import type { RawSocket, SocketHandler } from '../../protocol/socket/raw-socket.js';
import type { Endpoint } from './endpoint.js';
import { encodeRequest, SINK_OK } from './far-end.js';
import { BLOCK_BYTES, isPattern, patternAt } from './pattern.js';

/** What all connections of the load read into: each read is done with before the next one. */
const memory = Buffer.allocUnsafeSlow(BLOCK_BYTES);

/**
 * A connection of the load. It fails as a whole: the first thing that goes wrong ends it, and is what its
 * promise is rejected with.
 */
abstract class NearEnd implements SocketHandler {
  protected readonly socket: RawSocket;
  #reject: ((error: Error) => void) | undefined;
  /** The first thing that went wrong, perhaps while nothing was asked of it: what is asked later fails by it. */
  #failure: Error | undefined;
  #gone = false;
  /** Set by finish(): the end is wanted then. */
  #onGone: (() => void) | undefined;

  constructor(endpoint: Endpoint) {
    this.socket = connectSocket(endpoint, this, () => this.onConnected());
  }

  /** @param start is given what ends the promise in good order */
  protected run<T>(start: (resolve: (value: T) => void) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#failure) {
        reject(this.#failure);
        return;
      }
      this.#reject = reject;
      start(resolve);
    });
  }

  protected fail(message: string): void {
    this.#settle(message);
    this.socket.reset();
  }

  #settle(message: string): void {
    this.#failure ??= new OperationError(message);
    this.#reject?.(this.#failure);
  }

  /** Closes the connection as a client does that has got what it wanted. */
  close(): void {
    this.socket.closeWhenSent();
  }

  /** Ends the connection in good order, and waits until it is gone. */
  finish(): Promise<void> {
    this.socket.end();
    return new Promise((resolve) => {
      this.#onGone = resolve;
      if (this.#gone) resolve();
    });
  }

  nextMemory(): Buffer {
    return memory;
  }

  onEnd(): void {
    if (!this.#onGone) this.fail('the connection ended early');
  }

  onClose(error: NodeJS.ErrnoException | undefined): void {
    this.#gone = true;
    this.#onGone?.();
    this.#settle(error ? error.message : 'the connection was closed');
  }

  onSent(): void {}
  protected onConnected(): void {}
  abstract onRead(bytes: Buffer, length: number): boolean;
}

/** Sends the pattern to a sink. */
export class Upload extends NearEnd {
  #bytes = 0;
  #sent = 0;
  #verdict: ((verdict: number) => void) | undefined;

  /** @throws OperationError (in the promise) when it fails, or when what arrived was wrong */
  async transfer(bytes: number): Promise<void> {
    const verdict = await this.run<number>((resolve) => {
      this.#verdict = resolve;
      this.#bytes = bytes;
      this.socket.send(encodeRequest({ kind: 'sink', bytes }));
    });
    this.close();
    if (verdict !== SINK_OK)
      throw new OperationError(`what arrived is not what was sent, somewhere in ${bytes} bytes`);
  }

  protected override onConnected(): void {
    this.#sendMore();
  }

  override onSent(): void {
    if (this.socket.unsent === 0) this.#sendMore();
  }

  #sendMore(): void {
    while (this.#sent < this.#bytes) {
      const length = Math.min(BLOCK_BYTES, this.#bytes - this.#sent);
      const taken = this.socket.send(patternAt(this.#sent, length));
      this.#sent += length;
      if (!taken) return;
    }
  }

  onRead(bytes: Buffer): boolean {
    this.#verdict?.(bytes.readUInt8(0));
    return true;
  }
}

/** Receives the pattern from a source. */
export class Download extends NearEnd {
  #bytes = 0;
  #received = 0;
  #done: (() => void) | undefined;

  /** @throws OperationError (in the promise) when it fails, or when what arrived was wrong */
  async transfer(bytes: number): Promise<void> {
    await this.run<void>((resolve) => {
      this.#done = resolve;
      this.#bytes = bytes;
      this.socket.send(encodeRequest({ kind: 'source', bytes }));
    });
    this.close();
  }

  onRead(bytes: Buffer, length: number): boolean {
    if (!isPattern(bytes, length, this.#received)) {
      this.fail(`wrong bytes arrived at or after byte ${this.#received}`);
      return true;
    }
    this.#received += length;
    if (this.#received > this.#bytes)
      this.fail(`${this.#received} bytes arrived, asked for were ${this.#bytes}`);
    return true;
  }

  override onEnd(): void {
    if (this.#received === this.#bytes) this.#done?.();
    else this.fail(`${this.#received} bytes arrived before the end, asked for were ${this.#bytes}`);
  }
}

/** Size of a request and of its answer: a small HTTP request's. */
const EXCHANGE_BYTES = 128;

/** From one connection's first byte to the next one's: bytes that reach another connection are wrong there. */
const STRIDE = 1009 * EXCHANGE_BYTES;
let nextStart = 0;

/** Requests and answers on one connection: pieces of the pattern, which the far end sends back. */
export class Exchange extends NearEnd {
  #started = false;
  /** Offsets in the pattern. */
  #asked = nextStart;
  #answered = nextStart;
  #onAnswer: (() => void) | undefined;

  constructor(endpoint: Endpoint) {
    super(endpoint);
    nextStart += STRIDE;
  }

  /** One request and its answer. */
  ask(): Promise<void> {
    return this.run<void>((resolve) => this.send(resolve));
  }

  /** As ask(), without a promise: `onAnswer` is called with the answer. One request at a time. */
  send(onAnswer: () => void): void {
    this.#onAnswer = onAnswer;
    const request = patternAt(this.#asked, EXCHANGE_BYTES);
    this.#asked += EXCHANGE_BYTES;
    this.socket.send(this.#started ? request : Buffer.concat([encodeRequest({ kind: 'exchange' }), request]));
    this.#started = true;
  }

  /** Rejects when the connection fails, and never resolves: for a race with what is wanted of it. */
  get failure(): Promise<never> {
    return this.run<never>(() => {});
  }

  onRead(bytes: Buffer, length: number): boolean {
    if (this.#answered + length > this.#asked)
      this.fail(`${length} bytes of an answer arrived, expected were ${this.#asked - this.#answered}`);
    else if (!isPattern(bytes, length, this.#answered)) this.fail('wrong bytes arrived in an answer');
    else {
      this.#answered += length;
      if (this.#answered === this.#asked) this.#onAnswer?.();
    }
    return true;
  }
}
