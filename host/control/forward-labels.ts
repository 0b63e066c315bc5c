import type { Forward } from '../forwards/forward.js';

/** Forwards that have series of their own; all others are one: a guest may publish thousands. */
export const MAX_LABELLED_FORWARDS = 200;

/** What all others are called. */
export const OTHER = 'other';

/** How a forward is called in metrics, for as long as it is there. */
export class ForwardLabels {
  readonly #max: number;
  #labels = new Map<Forward, string>();

  /** @param max for tests */
  constructor(max = MAX_LABELLED_FORWARDS) {
    this.#max = max;
  }

  /**
   * Takes the forwards that there are now, of which the first get the names that are free.
   * @returns each with its name, and the names that are nobody's any more
   */
  update(forwards: readonly Forward[]): { labels: ReadonlyMap<Forward, string>; gone: string[] } {
    const before = this.#labels;
    const labels = new Map<Forward, string>();
    const kept = forwards.map((forward) => before.get(forward)).filter((label) => label !== undefined);
    let own = kept.filter((label) => label !== OTHER).length;
    for (const forward of forwards) {
      const label = before.get(forward) ?? (own < this.#max ? forward.id : OTHER);
      if (!before.has(forward) && label !== OTHER) own++;
      labels.set(forward, label);
    }
    this.#labels = labels;
    const used = new Set([...labels.values(), OTHER]);
    return { labels, gone: [...new Set(before.values())].filter((label) => !used.has(label)) };
  }
}
