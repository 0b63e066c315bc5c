import type { Source } from '../../protocol/wire/extension.js';
import type { Forward } from '../forwards/forward.js';
import { type ConnectionObserver, ConnectionRecord, type RecordKeeper } from './connection-record.js';
import { type Ending, isFine } from './ending.js';
import { Recent } from './recent.js';
import type { ConnectionReport } from './reports.js';

/** Connections that ended in good order and are still known: to look at one after a short request. */
const KEPT_SUCCESSES = 1_000;

/** The others: they are what people look for, and are to outlast any number of the former. */
const KEPT_FAILURES = 3_000;

/** How many records are kept; for tests. */
export interface RecordLimits {
  successes: number;
  failures: number;
}

/**
 * Every connection of the host: those that are open, and those that ended last. This is the one place from
 * which list, log and counters, and all who watch connections, hear what happens to them. Counters of forwards
 * are kept here; bytes are added to them by settle(), and at the end of a connection.
 */
export class Records implements RecordKeeper {
  readonly #observers = new Set<ConnectionObserver>();
  readonly #open = new Set<ConnectionRecord>();
  readonly #successes: Recent<ConnectionRecord>;
  readonly #failures: Recent<ConnectionRecord>;
  #lastId = 0;

  constructor(
    { successes, failures }: RecordLimits = { successes: KEPT_SUCCESSES, failures: KEPT_FAILURES },
  ) {
    this.#successes = new Recent(successes);
    this.#failures = new Recent(failures);
  }

  /** From now on `observer` hears of every connection. @returns ends that */
  observe(observer: ConnectionObserver): () => void {
    this.#observers.add(observer);
    return () => void this.#observers.delete(observer);
  }

  /** A client of a forward is there: makes its record, which whoever serves it keeps true. */
  begin(forward: Forward, source: Source): ConnectionRecord {
    const record = new ConnectionRecord(++this.#lastId, forward, source, this);
    this.onOpened(record);
    return record;
  }

  /** Open connections, in the order in which they came. */
  get open(): ReadonlySet<ConnectionRecord> {
    return this.#open;
  }

  /** Connections that have ended, the last one first. */
  ended(): ConnectionRecord[] {
    return [...this.#successes.list(), ...this.#failures.list()].sort((a, b) => b.endedAt - a.endedAt);
  }

  /** How many have failed within the last `seconds`, as far as they are still known. */
  failedWithin(seconds: number): number {
    const since = performance.now() - seconds * 1000;
    return this.#failures.list().filter(({ endedAt }) => endedAt >= since).length;
  }

  /** Open connections first, then those that ended last. */
  report(): ConnectionReport[] {
    return [...this.#open, ...this.ended()].map((record) => record.report());
  }

  /** Brings the forwards' counters up to date with what open connections have carried so far. */
  settle(): void {
    for (const record of this.#open) record.settle();
  }

  // ---- what records tell -----------------------------------------------------------------------------

  onOpened(record: ConnectionRecord): void {
    this.#open.add(record);
    const { counters } = record.forward;
    counters.connections++;
    counters.active++;
    for (const observer of this.#observers) observer.onOpened?.(record);
  }

  onDialled(record: ConnectionRecord): void {
    for (const observer of this.#observers) observer.onDialled?.(record);
  }

  onFirstByte(record: ConnectionRecord): void {
    for (const observer of this.#observers) observer.onFirstByte?.(record);
  }

  onEnded(record: ConnectionRecord, ending: Ending): void {
    this.#open.delete(record);
    const { counters } = record.forward;
    counters.active--;
    if (ending.empty) counters.empty++;
    if (ending.outcome === 'refused') counters.refused++;
    if (ending.outcome === 'failed') counters.failed++;
    const fine = isFine(ending);
    if (!fine) record.forward.failures.add(causeOf(ending), ending.message);
    (fine ? this.#successes : this.#failures).add(record);
    for (const observer of this.#observers) observer.onEnded?.(record, ending);
  }
}

/** `SC ECONNREFUSED`: what failures of a forward are told apart by. */
function causeOf({ termination, code }: Ending): string {
  return code === undefined ? termination : `${termination} ${code}`;
}
