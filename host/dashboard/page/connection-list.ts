import type { ConnectionReport } from '../../records/reports.js';

/** Connections that ended well and are still known; of the others three times as many, for they are looked for. */
const KEPT_FINE = 500;
const KEPT_FAILED = 1_500;

/** Open connections that are known one by one; what is beyond them is only counted. */
const KEPT_OPEN = 5_000;

/** The code of a connection that ended in good order, with an answer. */
const FINE = '--';

/** A connection as the page shows it. */
export interface ShownConnection {
  readonly report: ConnectionReport;
  /** When its last news came (ms since 1970): it was opened, or has ended. */
  readonly at: number;
}

export interface ConnectionFilter {
  /** The id of a forward. */
  readonly forward: string | undefined;
  readonly failuresOnly: boolean;
}

/** Whether somebody may wonder how it ended. */
export function isFailure({ ending }: ConnectionReport): boolean {
  return ending !== undefined && ending.termination !== FINE;
}

/** The connections of a host, as far as they are known here: what it costs is bounded, however many there are. */
export class ConnectionList {
  readonly #open = new Map<number, ShownConnection>();
  #fine: ShownConnection[] = [];
  #failed: ShownConnection[] = [];
  /** Had ended already when the host was asked: their events may come all the same. */
  #endedBefore: ReadonlySet<number> = new Set();

  /** Forgets all, and takes what a host has answered: open ones as they came, then those that ended, the last first. */
  reset(reports: readonly ConnectionReport[]): void {
    this.#open.clear();
    this.#fine = [];
    this.#failed = [];
    this.#endedBefore = new Set();
    const ended = reports.filter(({ ending }) => ending).reverse();
    for (const report of reports) if (!report.ending) this.open(report);
    for (const report of ended) this.end(report, Date.parse(report.openedAt) + report.ageMs);
    this.#endedBefore = new Set(ended.map(({ id }) => id));
  }

  open(report: ConnectionReport): void {
    if (this.#endedBefore.has(report.id) || this.#open.size >= KEPT_OPEN) return;
    this.#open.set(report.id, { report, at: Date.parse(report.openedAt) });
  }

  /** @param at ms since 1970 */
  end(report: ConnectionReport, at: number): void {
    this.#open.delete(report.id);
    if (this.#endedBefore.has(report.id)) return;
    if (isFailure(report)) this.#failed = added(this.#failed, { report, at }, KEPT_FAILED);
    else this.#fine = added(this.#fine, { report, at }, KEPT_FINE);
  }

  get openCount(): number {
    return this.#open.size;
  }

  /** The last failure, if there has been one. */
  get lastFailure(): ConnectionReport | undefined {
    return this.#failed.at(-1)?.report;
  }

  /**
   * Those with the last news first.
   * @returns at most `most` of them, and how many there are
   */
  newest(
    { forward, failuresOnly }: ConnectionFilter,
    most: number,
  ): { shown: ShownConnection[]; of: number } {
    const all = failuresOnly ? this.#failed : [...this.#open.values(), ...this.#fine, ...this.#failed];
    const some = forward === undefined ? all : all.filter(({ report }) => report.forward === forward);
    const sorted = [...some].sort((a, b) => b.at - a.at || b.report.id - a.report.id);
    return { shown: sorted.slice(0, most), of: some.length };
  }
}

/** Twice as many as are kept are dropped to that number at once: it costs no more than each of them once. */
function added(list: ShownConnection[], one: ShownConnection, kept: number): ShownConnection[] {
  list.push(one);
  return list.length > 2 * kept ? list.slice(-kept) : list;
}
