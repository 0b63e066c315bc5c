/** The first pause (ms) between two attempts to connect a channel. */
const MIN_PAUSE_MS = 50;

/** The longest pause (ms) before a socket is connected to again. */
const MAX_PAUSE_MS = 1_000;

/**
 * The longest pause (ms) before a command is started again. A log-in that fails each second is an attack to ssh's
 * server, which then shuts out everybody who comes from here (PerSourcePenalties: 5 s each).
 */
const MAX_COMMAND_PAUSE_MS = 10_000;

/** How long to wait between attempts: twice as long each time. */
export class BackOff {
  readonly #longestMs: number;
  #pauseMs = MIN_PAUSE_MS;

  /** @param command whether it is a command that is started */
  constructor(command: boolean) {
    this.#longestMs = command ? MAX_COMMAND_PAUSE_MS : MAX_PAUSE_MS;
  }

  /** The pause (ms) before the next attempt. */
  next(): number {
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(pauseMs * 2, this.#longestMs);
    return pauseMs;
  }

  /** An attempt has succeeded. */
  reset(): void {
    this.#pauseMs = MIN_PAUSE_MS;
  }
}
