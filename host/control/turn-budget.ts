import { Fifo } from '../fifo.js';

/** How long (ms) of one turn of the event loop may go into what guests ask for, beside what is begun before that is over. */
export const TURN_BUDGET_MS = 5;

/** A turn that has taken so long (ms) is followed by as long a pause. */
export const LONG_TURN_MS = 20;

/** What is done in one turn at most, however little it takes. */
export const ACTIONS_A_TURN = 64;

/**
 * Does things one after the other, few in each turn of the event loop, so that whoever asks for more and more keeps
 * nobody else waiting. A turn that takes long is followed by as long a pause: half of the time is for others.
 */
export class TurnBudget {
  readonly #waiting = new Fifo<() => void>();
  #busy = false;

  /** Does it in its turn, which never is at once. Who may ask for how much is for others to bound. */
  run(action: () => void): void {
    this.#waiting.push(action);
    if (!this.#busy) this.#takeTurn();
  }

  /** Resolves when a turn has come; what is then done without waiting counts as a part of it. */
  turn(): Promise<void> {
    return new Promise((resolve) => this.run(resolve));
  }

  /** Each has an immediate of its own: then all that comes of it in microtasks is done, and counted, before the next. */
  #takeTurn(): void {
    this.#busy = true;
    let startedAt: number | undefined;
    const used = (): number => {
      startedAt ??= performance.now();
      return performance.now() - startedAt;
    };
    const next = (): void => {
      if (used() < TURN_BUDGET_MS) this.#waiting.shift()?.();
    };
    for (let left = Math.min(this.#waiting.length, ACTIONS_A_TURN); left > 0; left--) setImmediate(next);
    setImmediate(() => {
      this.#busy = this.#waiting.length > 0;
      if (!this.#busy) return;
      if (used() < LONG_TURN_MS) this.#takeTurn();
      else setTimeout(() => this.#takeTurn(), used());
    });
  }
}
