import type { Claim } from './claim.js';
import type { Forward } from './forward.js';

/** Who hears of what becomes of forwards, of as much as it likes. */
export interface ForwardObserver {
  /** It is listened on. */
  onListening?(forward: Forward): void;
  /** It is listened on, or wanted, no longer; not told when the host stops. */
  onNoLonger?(forward: Forward | Claim): void;
  /** It is wanted and not listened on; once for each reason, however often it is tried. */
  onFailed?(claim: Claim): void;
}

/** What tells all of them: the same events, none left out. */
export type ForwardTeller = Required<ForwardObserver>;

/** All who watch forwards, as one. */
export class ForwardObservers implements ForwardTeller {
  readonly #observers = new Set<ForwardObserver>();

  /** From now on `observer` hears of them, too. @returns ends that */
  add(observer: ForwardObserver): () => void {
    this.#observers.add(observer);
    return () => void this.#observers.delete(observer);
  }

  onListening(forward: Forward): void {
    for (const observer of this.#observers) observer.onListening?.(forward);
  }

  onNoLonger(forward: Forward | Claim): void {
    for (const observer of this.#observers) observer.onNoLonger?.(forward);
  }

  onFailed(claim: Claim): void {
    for (const observer of this.#observers) observer.onFailed?.(claim);
  }
}
