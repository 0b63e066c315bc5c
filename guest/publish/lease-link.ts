import type { Deadline } from '../../protocol/deadline.js';
import { type ConnectionLost, ExposeError, type LeaseConnection } from './lease-connection.js';

/** That nothing can be had of the host at present. */
const UNAVAILABLE = 503;

/** How long (ms) a lease may wait for what. */
export interface LeaseTimes {
  channelWaitMs: number;
  answerTimeoutMs: number;
  publishTimeoutMs: number;
  retryMs: number;
}

/** Where a lease gets its stream to the host. */
export interface LeaseSource {
  readonly times: LeaseTimes;
  /** Whether there is a channel. */
  readonly up: boolean;
  /** Why no lease can be had of the host that is there. */
  readonly problem: string | undefined;
  /** @param onEnd told once, with the reason if no lease is given */
  connect(onEnd: (refusal: string | undefined) => void): LeaseConnection | undefined;
}

/** Keeps one lease's stream to the host, while there is a channel: opens it again when it has ended. */
export class LeaseLink {
  readonly #source: LeaseSource;
  readonly #onConnected: () => void;
  #connection: LeaseConnection | undefined;
  /** Why the host gave no lease when it was asked last. */
  #refusal: string | undefined;
  /** Whether anything was ever asked of the lease. */
  #used = false;
  #closed = false;
  #retryTimer: NodeJS.Timeout | undefined;
  /** Told of every change: a connection, a problem, the end, and what is not wanted any more. */
  readonly #waiters = new Set<() => void>();

  /** @param onConnected told of each new stream, on which the host knows nothing yet */
  constructor(source: LeaseSource, onConnected: () => void) {
    this.#source = source;
    this.#onConnected = onConnected;
  }

  get connection(): LeaseConnection | undefined {
    return this.#connection;
  }

  get refusal(): string | undefined {
    return this.#refusal;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** From now on there is to be a stream. */
  use(): void {
    this.#used = true;
    if (!this.#connection) this.#connect();
  }

  /** There is a channel, which may be one that gives no leases. */
  onChannel(): void {
    if (this.#used) this.#connect();
    this.wake();
  }

  /** Lets everybody who waits look again. */
  wake(): void {
    for (const waiter of this.#waiters) waiter();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    this.#connection?.close();
    this.wake();
  }

  /**
   * Waits for a stream.
   * @param deadline until when
   * @param isWanted asked whenever something has changed
   * @returns undefined when there was none in time
   * @throws ExposeError when there will be none
   */
  async connected(deadline: Deadline, isWanted: () => boolean): Promise<LeaseConnection | undefined> {
    for (;;) {
      if (this.#closed || !isWanted()) throw notWanted();
      if (this.#source.problem !== undefined) throw new ExposeError(UNAVAILABLE, this.#source.problem);
      if (this.#connection && !this.#connection.ended) return this.#connection;
      if (deadline.over) return undefined;
      await this.#changeBy(deadline);
    }
  }

  /**
   * Why the host has not done what it was asked for.
   * @param lost what became of the last try, if there was one
   */
  unavailable(lost: ConnectionLost | undefined): ExposeError {
    return new ExposeError(UNAVAILABLE, this.#whyUnavailable(lost));
  }

  #whyUnavailable(lost: ConnectionLost | undefined): string {
    const seconds = this.#source.times.channelWaitMs / 1000;
    const next = 'start or check portferry host';
    if (!this.#source.up)
      return lost
        ? `the channel to the host was lost, and was not back in time: ${next}`
        : `there has been no channel to the host for ${seconds} s: ${next}`;
    if (lost && this.#refusal !== undefined) return `the host gives no lease: ${this.#refusal}`;
    if (lost) return `the host has not answered: ${lost.message}`;
    return `the host has granted nothing for ${seconds} s: ${this.#refusal ?? 'it takes no new streams'}`;
  }

  #connect(): void {
    clearTimeout(this.#retryTimer);
    if (this.#closed) return;
    const connection = this.#source.connect((refusal) => this.#onEnd(connection, refusal));
    this.#connection = connection;
    if (!connection) return;
    this.#onConnected();
    this.wake();
  }

  #onEnd(connection: LeaseConnection | undefined, refusal: string | undefined): void {
    // A channel that is there again has given another one already.
    if (connection !== this.#connection) return;
    this.#refusal = refusal;
    this.#connection = undefined;
    this.wake();
    if (!this.#closed) this.#retryTimer = setTimeout(() => this.#connect(), this.#source.times.retryMs);
  }

  #changeBy({ signal }: Deadline): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener('abort', done);
        this.#waiters.delete(done);
        resolve();
      };
      signal.addEventListener('abort', done);
      this.#waiters.add(done);
    });
  }
}

/** The lease was given up, or the forward is not waited for any more. */
export function notWanted(): ExposeError {
  return new ExposeError(UNAVAILABLE, 'the forward is not wanted any more');
}
