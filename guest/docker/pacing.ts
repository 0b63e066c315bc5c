/**
 * Makes a function of which many calls cost few: while the action runs, all calls together lead to one more
 * run after it. When it fails, what was asked for meanwhile is dropped.
 */
export function coalesced(action: () => Promise<void>, onError: (thrown: unknown) => void): () => void {
  let running = false;
  let again = false;
  const run = async (): Promise<void> => {
    running = true;
    try {
      do {
        again = false;
        await action();
      } while (again);
    } catch (thrown) {
      onError(thrown);
    }
    running = false;
  };
  return () => {
    if (running) again = true;
    else void run();
  };
}

/** Does something some times (ms) after each begin(), of which the last one counts. */
export class Afterwards {
  readonly #delaysMs: readonly number[];
  readonly #action: () => void;
  #timers: NodeJS.Timeout[] = [];

  constructor(delaysMs: readonly number[], action: () => void) {
    this.#delaysMs = delaysMs;
    this.#action = action;
  }

  begin(): void {
    this.end();
    this.#timers = this.#delaysMs.map((ms) => setTimeout(this.#action, ms));
  }

  end(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }
}
