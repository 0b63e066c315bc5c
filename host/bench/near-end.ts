import { OperationError } from '../../protocol/errors.js';
import { connectSocket } from '../../protocol/socket/connect.js';
import type { RawSocket, SocketHandler } from '../../protocol/socket/raw-socket.js';
import { EXCHANGE_BYTES, encodeRequest, SINK_OK } from './far-end.js';
import { BLOCK_BYTES, isPattern, patternAt } from './pattern.js';

/** Where a forwarder, or the far end itself, listens. */
export interface Endpoint {
  host: string;
  port: number;
}

/** What all connections of the load read into: each read is done with before the next one. */
const memory = Buffer.allocUnsafeSlow(1024 * 1024);

/**
 * A connection of the load. It fails as a whole: the first thing that goes wrong ends it, and is what its
 * promise is rejected with.
 */
abstract class NearEnd implements SocketHandler {
  protected readonly socket: RawSocket;
  #fail: (error: Error) => void = () => {};
  #gone = false;
  /** Set by finish(): the end is wanted then. */
  #onGone: (() => void) | undefined;

  constructor(endpoint: Endpoint) {
    this.socket = connectSocket(endpoint, this, () => this.onConnected());
  }

  /** @param start is given what ends the promise in good order */
  protected run<T>(start: (resolve: (value: T) => void) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#fail = reject;
      start(resolve);
    });
  }

  protected fail(message: string): void {
    this.#fail(new OperationError(message));
    this.socket.reset();
  }

  close(): void {
    this.socket.destroy();
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
    this.#fail(new OperationError(error ? error.message : 'the connection was closed'));
  }

  onSent(): void {}
  protected onConnected(): void {}
  abstract onRead(bytes: Buffer, length: number): boolean;
}

/** Sends the pattern to a sink. */
export class Upload extends NearEnd {
  #bytes = 0;
  #sent = 0;
  #verdict: (verdict: number) => void = () => {};

  /** @throws OperationError (in the promise) when it fails, or when what arrived was wrong */
  async transfer(bytes: number): Promise<void> {
    const verdict = await this.run<number>((resolve) => {
      this.#verdict = resolve;
      this.#bytes = bytes;
      this.socket.send(encodeRequest({ kind: 'sink', bytes }));
    });
    this.close();
    if (verdict !== SINK_OK)
      throw new OperationError(`wrong bytes arrived: the checksum of ${bytes} bytes differs`);
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
    this.#verdict(bytes.readUInt8(0));
    return true;
  }
}

/** Receives the pattern from a source. */
export class Download extends NearEnd {
  #bytes = 0;
  #received = 0;
  #done: () => void = () => {};

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
    if (this.#received === this.#bytes) this.#done();
    else this.fail(`${this.#received} bytes arrived before the end, asked for were ${this.#bytes}`);
  }
}

const REQUEST = Buffer.alloc(EXCHANGE_BYTES, 'q');
const FIRST_REQUEST = Buffer.concat([encodeRequest({ kind: 'exchange' }), REQUEST]);

/** Requests and answers on one connection. */
export class Exchange extends NearEnd {
  #started = false;
  #pending = 0;
  #received = 0;
  #onAnswer: () => void = () => {};

  /** One request and its answer. */
  ask(): Promise<void> {
    return this.run<void>((resolve) => this.send(resolve));
  }

  /** As ask(), without a promise: `onAnswer` is called for this and every later answer. */
  send(onAnswer: () => void): void {
    this.#onAnswer = onAnswer;
    this.#pending += EXCHANGE_BYTES;
    this.socket.send(this.#started ? REQUEST : FIRST_REQUEST);
    this.#started = true;
  }

  /** Rejects when the connection fails, and never resolves: for a race with what is wanted of it. */
  get failure(): Promise<never> {
    return this.run<never>(() => {});
  }

  onRead(_bytes: Buffer, length: number): boolean {
    this.#received += length;
    if (this.#received > this.#pending)
      this.fail(`${this.#received} bytes of answers to ${this.#pending} of requests`);
    while (this.#received >= EXCHANGE_BYTES) {
      this.#received -= EXCHANGE_BYTES;
      this.#pending -= EXCHANGE_BYTES;
      this.#onAnswer();
    }
    return true;
  }
}
