/** A fault that was made. */
export interface Entry {
  readonly text: string;
  /** Whether connections may be cut by it. */
  readonly harmful: boolean;
  /** As performance.now() has it. */
  readonly from: number;
  /** When everything worked again. */
  to?: number;
}

/** How many faults a failure shows. */
const SHOWN = 6;

/** What was done when: a connection may fail for a fault's sake, and for nothing else. */
export class Ledger {
  readonly entries: Entry[] = [];
  readonly #startedAt = performance.now();

  begin(text: string, harmful: boolean): Entry {
    const entry: Entry = { text, harmful, from: performance.now() };
    this.entries.push(entry);
    return entry;
  }

  end(entry: Entry): void {
    entry.to = performance.now();
  }

  /** Whether a fault that may cut connections has been there at some time since then. */
  harmedSince(when: number): boolean {
    return this.entries.some(({ harmful, to }) => harmful && (to === undefined || to >= when));
  }

  /** Whether any fault has been there at some time since then. */
  disturbedSince(when: number): boolean {
    return this.entries.some(({ to }) => to === undefined || to >= when);
  }

  /** Since when (performance.now()) there is no fault; undefined while there is one. */
  get calmSince(): number | undefined {
    const last = this.entries.at(-1);
    return last ? last.to : this.#startedAt;
  }

  /** The last faults, with seconds since the start. */
  describe(): string[] {
    const seconds = (at: number): string => ((at - this.#startedAt) / 1000).toFixed(2);
    return this.entries
      .slice(-SHOWN)
      .map(({ text, from, to }) => `${seconds(from)} to ${to === undefined ? '…' : seconds(to)} s: ${text}`);
  }
}
