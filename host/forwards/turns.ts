/** Forwards that are bound, or given up, in one turn: tens of them take a few milliseconds. */
const FORWARDS_A_TURN = 32;

type Action = () => Promise<void>;

/** Resolves when the process has done what else there is to do. */
export function nextTurn(): Promise<void> {
  // The global, which simulations replace; node:timers/promises would be the system's all the same.
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * Does things one after the other. What is urgent waits for the one that is under way, and never for those that
 * wait: these have their turns in the order in which they came, and let the process do everything else between
 * any two of them.
 */
export class Turns {
  readonly #urgent: Action[] = [];
  #others: Action[] = [];
  /** How many of these have had their turn. */
  #taken = 0;
  #running = false;

  /** Resolves, or rejects, as `action` does in its turn. */
  take<T>(action: () => Promise<T>, urgent: boolean): Promise<T> {
    return new Promise((resolve, reject) => {
      const turn = (): Promise<void> => action().then(resolve, reject);
      (urgent ? this.#urgent : this.#others).push(turn);
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (;;) {
      const urgent = this.#urgent.shift();
      const turn = urgent ?? this.#next();
      if (!turn) break;
      await turn();
      if (!urgent) await nextTurn();
    }
    this.#running = false;
  }

  #next(): Action | undefined {
    const turn = this.#others[this.#taken++];
    // Those that have had their turn are let go of when they are half of all: one by one, each would move all the others.
    if (2 * this.#taken >= this.#others.length) {
      this.#others = this.#others.slice(this.#taken);
      this.#taken = 0;
    }
    return turn;
  }
}

/** Parts of `things`, one for each turn. */
export function* inSlices<T>(things: readonly T[]): Generator<T[]> {
  for (let start = 0; start < things.length; start += FORWARDS_A_TURN)
    yield things.slice(start, start + FORWARDS_A_TURN);
}
