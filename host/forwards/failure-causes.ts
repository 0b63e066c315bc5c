import { textForPeople } from '../../protocol/services/text.js';

/** Causes of one forward that are told apart: most have one or two, and each costs a sentence of memory. */
const MAX_CAUSES = 8;

/** What all causes beyond those count as. */
const OTHERS = 'others';

/** Connections of a forward that have failed for the same cause. */
export interface FailureReport {
  /** The termination code and, where there is one, the errno or code: `SC ECONNREFUSED`; `others` for all the rest. */
  cause: string;
  count: number;
  /** The sentence of the last one. */
  lastMessage: string;
  /** ISO 8601. */
  lastAt: string;
}

/** Why connections of one forward have failed: what it takes is bounded, however many do and for whatever causes. */
export class FailureCauses {
  /** None before the first failure: most of thousands of forwards have none. The last one stands at the end. */
  #causes: Map<string, { count: number; message: string; at: number }> | undefined;

  /** @param now ms since 1970 */
  add(cause: string, message: string, now = Date.now()): void {
    this.#causes ??= new Map();
    const known = this.#causes.has(cause) || this.#causes.size < MAX_CAUSES - 1;
    const key = known ? cause : OTHERS;
    const count = (this.#causes.get(key)?.count ?? 0) + 1;
    this.#causes.delete(key);
    this.#causes.set(key, { count, message: textForPeople(message), at: now });
  }

  /** The last one first. */
  report(): FailureReport[] {
    return [...(this.#causes ?? [])]
      .map(([cause, { count, message, at }]) => ({
        ...{ cause, count, lastMessage: message, lastAt: new Date(at).toISOString() },
      }))
      .reverse();
  }
}
