import { findPortOwners, type WantedAddress } from './port-owner.js';

/**
 * After a search there is none, for those who can wait, for so many times as long as it took: a guest that asks
 * without end for ports that are taken costs the host a tenth of a processor at most.
 */
const PAUSE_FACTOR = 9;

/** How long (ms) what was found answers those who can wait. */
const FOUND_MS = 2_000;

/** How long (ms) those wait for a name who can do without: a guest's request for a forward must be answered in 5 s. */
const PATIENCE_MS = 2_000;

interface Question {
  readonly address: WantedAddress;
  readonly urgent: boolean;
  answer(owner: string | undefined): void;
}

/** Looks for the processes that have ports which forwards want: one search for all who ask at the same time. */
export class PortOwners {
  readonly #find: typeof findPortOwners;
  #questions: Question[] = [];
  #searching = false;
  #closed = false;
  /** When (performance.now()) the next search may begin for those who can wait. */
  #rested = 0;
  /** Ends the pause before a search. */
  #hurry: (() => void) | undefined;
  /** What the last search has found, and when. */
  #found = new Map<string, string | undefined>();
  #foundAt = Number.NEGATIVE_INFINITY;

  readonly #patienceMs: number;

  /** Both parameters are for tests. */
  constructor(find: typeof findPortOwners = findPortOwners, patienceMs = PATIENCE_MS) {
    this.#find = find;
    this.#patienceMs = patienceMs;
  }

  /**
   * Who has `address`, as findPortOwners says.
   * @param urgent a user waits: it is looked for now. Else what was found a moment ago will do, and nothing
   * rather than a long wait.
   */
  find(address: WantedAddress, urgent: boolean): Promise<string | undefined> {
    if (this.#closed) return Promise.resolve(undefined);
    const key = keyOf(address);
    if (!urgent && performance.now() - this.#foundAt < FOUND_MS && this.#found.has(key))
      return Promise.resolve(this.#found.get(key));
    return new Promise((resolve) => {
      const timer = urgent ? undefined : setTimeout(() => resolve(undefined), this.#patienceMs);
      const answer = (owner: string | undefined): void => {
        clearTimeout(timer);
        resolve(owner);
      };
      this.#questions.push({ address, urgent, answer });
      if (urgent) this.#hurry?.();
      void this.#search();
    });
  }

  /** Searches no more: whoever waits is answered at once, without a name. */
  close(): void {
    this.#closed = true;
    for (const { answer } of this.#questions.splice(0)) answer(undefined);
    this.#hurry?.();
  }

  async #search(): Promise<void> {
    if (this.#searching) return;
    this.#searching = true;
    while (this.#questions.length > 0) {
      await this.#pause();
      const questions = this.#questions;
      this.#questions = [];
      if (this.#closed) break;
      const startedAt = performance.now();
      const owners = await this.#find(questions.map(({ address }) => address));
      this.#foundAt = performance.now();
      this.#rested = this.#foundAt + PAUSE_FACTOR * (this.#foundAt - startedAt);
      this.#found = new Map(questions.map(({ address }, index) => [keyOf(address), owners[index]]));
      for (const [index, { answer }] of questions.entries()) answer(owners[index]);
    }
    this.#searching = false;
  }

  /** Those who ask in this turn of the event loop, at least, are answered together. */
  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const urgent = this.#questions.some((question) => question.urgent);
      const timer = setTimeout(resolve, urgent ? 0 : this.#rested - performance.now());
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function keyOf({ proto, ip, port }: WantedAddress): string {
  return `${proto} ${ip} ${port}`;
}
