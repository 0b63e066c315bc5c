/** Where progress is shown: standard error. */
export interface ProgressOutput {
  write(text: string): unknown;
  isTTY?: boolean;
}

const LINE_EVERY_MS = 10_000;

/** One line that changes, on a terminal; elsewhere a line now and then. */
export class Progress {
  readonly #out: ProgressOutput;
  readonly #now: () => number;
  #shownAt = Number.NEGATIVE_INFINITY;

  /** @param now milliseconds */
  constructor(out: ProgressOutput, now: () => number = () => performance.now()) {
    this.#out = out;
    this.#now = now;
  }

  show(text: string): void {
    if (this.#out.isTTY) {
      this.#out.write(`\r\x1b[K${text}`);
      return;
    }
    if (this.#now() - this.#shownAt < LINE_EVERY_MS) return;
    this.#shownAt = this.#now();
    this.#out.write(`${text}\n`);
  }

  /** Makes room for what is written next. */
  clear(): void {
    if (this.#out.isTTY) this.#out.write('\r\x1b[K');
  }
}
