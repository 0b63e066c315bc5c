import { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { Logger } from '../../protocol/program/logger.js';

/**
 * How soon (ms) clients are accepted again when there is room for some: those that end close together cost the
 * listeners one change.
 */
export const RESUME_DELAY_MS = 20;

export interface CrowdOptions {
  /** How many clients can be served at once, as of now; see Descriptors. */
  room: { readonly maxClients: number };
  /** Has further clients wait in the OS's queues, or lets them in again. */
  setAccepting?(accepting: boolean): void;
  logger: Logger;
}

/** Sees to it that there are no more clients than descriptors for them: when there are enough, further ones wait. */
export class Crowd {
  readonly #options: CrowdOptions;
  readonly #log: LogLimiter;
  #accepting = true;
  #resumeTimer: NodeJS.Timeout | undefined;
  #clients = 0;

  constructor(options: CrowdOptions) {
    this.#options = options;
    this.#log = new LogLimiter(options.logger);
  }

  /**
   * A client has come: call leave() when it has gone, whether it was served or not.
   * @returns whether there is room for it. Where accepting cannot be paused, clients come that there is none for
   */
  enter(): boolean {
    this.#clients++;
    const { maxClients } = this.#options.room;
    if (this.#clients >= maxClients && this.#accepting) this.#pause(maxClients);
    if (this.#clients <= maxClients) return true;
    this.#warn('reset', 'a client is reset, for it cannot wait', maxClients);
    return false;
  }

  leave(): void {
    this.#clients--;
    this.roomMade();
  }

  /** There may be room for more than before. */
  roomMade(): void {
    if (this.#accepting || this.#clients >= this.#options.room.maxClients) return;
    this.#resumeTimer ??= setTimeout(() => this.#resume(), RESUME_DELAY_MS);
  }

  #pause(maxClients: number): void {
    this.#accepting = false;
    this.#options.setAccepting?.(false);
    this.#warn('wait', 'clients wait', maxClients);
  }

  #resume(): void {
    this.#resumeTimer = undefined;
    if (this.#clients >= this.#options.room.maxClients) return;
    this.#accepting = true;
    this.#options.setAccepting?.(true);
  }

  #warn(kind: string, what: string, maxClients: number): void {
    this.#log.log(
      'warn',
      kind,
      {},
      `${what}: ${maxClients} are being served, and more would need more file descriptors than this process may have; raise the limit (ulimit -n) and restart the host`,
    );
  }
}
