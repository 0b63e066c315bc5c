import type { Logger, LogLevel } from './logger.js';

/** Equal lines that are logged one by one within an interval; what comes after them is counted. */
const LINES_PER_INTERVAL = 3;

/** How long (ms) equal lines are counted before their number is told. */
const INTERVAL_MS = 60_000;

/** Kinds of lines that are told apart; a peer that can make up kinds is not to fill the memory with them. */
const MAX_KINDS = 64;

/** What all kinds beyond those that are told apart count as. */
const OTHERS = 'others';

interface Kind {
  lines: number;
  /** The line that was left out last. */
  level: LogLevel;
  context: object;
  message: string;
}

/** The times and numbers of a LogLimiter; for tests. */
export interface LogLimits {
  linesPerInterval: number;
  intervalMs: number;
  maxKinds: number;
}

/**
 * Sums up equal lines of the log: whatever others can make happen again and again costs a few lines a minute,
 * and how often it happened is told all the same.
 */
export class LogLimiter {
  readonly #log: Logger;
  readonly #limits: LogLimits;
  readonly #kinds = new Map<string, Kind>();
  /** There is one only while something has been left out: nothing else would be told. */
  #timer: NodeJS.Timeout | undefined;
  /** When (ms) the present interval began. */
  #since = Number.NEGATIVE_INFINITY;

  constructor(logger: Logger, limits: Partial<LogLimits> = {}) {
    this.#log = logger;
    this.#limits = {
      linesPerInterval: LINES_PER_INTERVAL,
      intervalMs: INTERVAL_MS,
      maxKinds: MAX_KINDS,
      ...limits,
    };
  }

  /**
   * Logs a line, or counts it.
   * @param kind lines of one kind count as equal, whatever numbers or names are in them: `refused ECONNREFUSED`
   */
  log(level: LogLevel, kind: string, context: object, message: string): void {
    const { linesPerInterval, intervalMs, maxKinds } = this.#limits;
    const now = performance.now();
    if (!this.#timer && now - this.#since >= intervalMs) {
      this.#kinds.clear();
      this.#since = now;
    }
    const key = this.#kinds.has(kind) || this.#kinds.size < maxKinds ? kind : OTHERS;
    const known = this.#kinds.get(key);
    const lines = (known?.lines ?? 0) + 1;
    // One object a kind, and written anew only where it will be told: a flood costs no memory.
    if (known) Object.assign(known, { lines, level, context, message });
    else this.#kinds.set(key, { lines, level, context, message });
    if (lines <= linesPerInterval) this.#log[level](context, message);
    else this.#timer ??= setTimeout(() => this.#sumUp(), this.#since + intervalMs - now).unref();
  }

  /** Tells what was only counted; at the end, too. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#sumUp();
  }

  #sumUp(): void {
    this.#timer = undefined;
    const { linesPerInterval, intervalMs } = this.#limits;
    for (const [kind, { lines, level, context, message }] of this.#kinds) {
      const more = lines - linesPerInterval;
      if (more <= 0) continue;
      const which = kind === OTHERS ? 'of many kinds' : 'like it';
      this.#log[level](
        { ...context, more },
        `${message} (the last of ${more} more ${which} within ${intervalMs / 1000} s)`,
      );
    }
    this.#kinds.clear();
    this.#since = Number.NEGATIVE_INFINITY;
  }
}
