import { Fifo } from '../fifo.js';

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
  readonly #urgent = new Fifo<Action>();
  readonly #others = new Fifo<Action>();
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
      const turn = urgent ?? this.#others.shift();
      if (!turn) break;
      await turn();
      if (!urgent) await nextTurn();
    }
    this.#running = false;
  }
}

/** Parts of `things`, one for each turn. */
export function* inSlices<T>(things: readonly T[]): Generator<T[]> {
  for (let start = 0; start < things.length; start += FORWARDS_A_TURN)
    yield things.slice(start, start + FORWARDS_A_TURN);
}
