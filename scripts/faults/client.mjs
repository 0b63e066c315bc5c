// A client, and what it sees.
import net from 'node:net';
import { wasReset } from './ending.mjs';
import { check } from './pattern.mjs';

/** A client of a forward, which asks for something, reads what comes, and notes how it ends. */
export class Client {
  bytes = 0;
  right = true;
  /** 'end', or an error's code; undefined while it goes on. */
  outcome;
  /** When that was seen: ms of performance.now(). */
  endedAt;
  #waiting = [];

  /** @param request the first line: what the destination is to do */
  constructor(endpoint, request) {
    this.startedAt = performance.now();
    this.socket = net.connect({ ...endpoint, allowHalfOpen: true, noDelay: true });
    this.socket.write(`${request}\n`);
    this.socket.on('data', (bytes) => {
      this.right &&= check(bytes, this.bytes);
      this.bytes += bytes.length;
      this.#wake();
    });
    this.socket.on('end', () => this.#end(wasReset(this.socket) ? 'ECONNRESET' : 'end'));
    this.socket.on('error', ({ code }) => this.#end(code));
    this.socket.on('close', () => this.#end('closed'));
  }

  get seenAfter() {
    return this.endedAt - this.startedAt;
  }

  /** Resolves to whether the condition holds before `deadlineMs` are over, or the connection. */
  until(condition, deadlineMs) {
    if (condition() || this.outcome !== undefined) return Promise.resolve(condition());
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting = this.#waiting.filter((each) => each !== look);
        resolve(condition());
      };
      const look = () => {
        if (condition() || this.outcome !== undefined) done();
      };
      const timer = setTimeout(done, deadlineMs);
      this.#waiting.push(look);
    });
  }

  /** Resolves to how it ended; undefined when it has not within `deadlineMs`. */
  async end(deadlineMs) {
    await this.until(() => this.outcome !== undefined, deadlineMs);
    return this.outcome;
  }

  close() {
    this.socket.destroy();
  }

  #end(outcome) {
    if (this.outcome !== undefined) return;
    this.outcome = outcome;
    this.endedAt = performance.now();
    this.#wake();
  }

  #wake() {
    for (const look of [...this.#waiting]) look();
  }
}

/** How long one attempt (ms) of works() may take before another one is made beside it. */
const ATTEMPT_MS = 500;
const PAUSE_MS = 10;

/** Resolves to how long (ms) after `from` a new connection is answered; undefined when none is in time. */
export async function works(endpoint, deadlineMs, from = performance.now()) {
  const deadline = from + deadlineMs;
  const attempts = [];
  const answered = () => attempts.some(({ bytes }) => bytes > 0);
  while (!answered() && performance.now() < deadline) {
    const client = new Client(endpoint, 'echo');
    attempts.push(client);
    await client.until(answered, ATTEMPT_MS);
    if (!answered()) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  const ms = performance.now() - from;
  for (const client of attempts) client.close();
  return answered() ? ms : undefined;
}
