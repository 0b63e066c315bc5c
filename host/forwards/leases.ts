import type { Logger } from '../../protocol/program/logger.js';
import { type ForwardRule, formatRule } from '../rule/forward-rule.js';
import type { ExposePolicy } from './expose-policy.js';
import { type Forward, type ForwardTable, forwardId } from './forward-table.js';
import { Lease, type LeaseKeeper, type Wanted } from './lease.js';

/** Leases of one channel: each is a stream, and each port that a userland proxy publishes has one. */
const MAX_LEASES = 4096;

/** How often (ms) the host tries again to listen where it could not. */
const RETRY_FORWARDS_MS = 2_000;

export interface LeasesOptions {
  forwards: ForwardTable;
  policy: ExposePolicy;
  /** Forwards that all leases together may want. */
  maxForwards: number;
  logger: Logger;
  /** How often (ms) it is tried again to listen where that has failed. Default: RETRY_FORWARDS_MS. */
  retryMs?: number;
  /** How many leases there may be. Default: MAX_LEASES. */
  maxLeases?: number;
}

/** What publishers in the guest want of this host. */
export class Leases implements LeaseKeeper {
  readonly policy: ExposePolicy;
  readonly maxForwards: number;
  readonly #forwards: ForwardTable;
  readonly #log: Logger;
  readonly #retryMs: number;
  readonly #maxLeases: number;
  readonly #leases = new Set<Lease>();
  #retryTimer: NodeJS.Timeout | undefined;
  /** Whether an attempt waits for its turn, or is under way. */
  #retrying = false;
  #closed = false;

  constructor({ forwards, policy, maxForwards, logger, ...rest }: LeasesOptions) {
    this.#forwards = forwards;
    this.policy = policy;
    this.maxForwards = maxForwards;
    this.#log = logger;
    this.#retryMs = rest.retryMs ?? RETRY_FORWARDS_MS;
    this.#maxLeases = rest.maxLeases ?? MAX_LEASES;
  }

  /** A new lease; undefined when there are too many. */
  open(): Lease | undefined {
    if (this.#leases.size >= this.#maxLeases) return undefined;
    const lease = new Lease(this);
    this.#leases.add(lease);
    return lease;
  }

  /** What is wanted and could not be listened on, once for each rule; without what the user has removed. */
  waiting(): Wanted[] {
    const byRule = new Map<string, Wanted>();
    for (const wanted of this.#all()) {
      const key = formatRule(wanted.rule);
      if (wanted.missing && !wanted.removedByUser && !byRule.has(key)) byRule.set(key, wanted);
    }
    return [...byRule.values()];
  }

  /**
   * Removes the forwards that match for the user, whoever wants them. Publishers get them back when they have
   * given them up and then ask again.
   * @returns what was listened on, and what was only wanted
   */
  async unexpose(matches: (rule: ForwardRule) => boolean): Promise<(Forward | Wanted)[]> {
    const waiting = this.waiting().filter(({ rule }) => matches(rule));
    const removed = this.#forwards.unexpose(matches);
    this.#setAside(({ forward, rule }) => matches(forward?.rule ?? rule));
    const forwards = await removed;
    // A port that was being chosen meanwhile has shown only now that it matches.
    const gone = new Set(forwards);
    this.#setAside(({ forward }) => forward !== undefined && gone.has(forward));
    return [...forwards, ...waiting];
  }

  /** Tries again, now, to listen for everything that could not be listened on. */
  retry(): void {
    if (this.#retrying || this.#closed) return;
    const failed = this.#all().filter(({ pending, failure }) => pending && failure);
    if (failed.length === 0) return;
    this.#retrying = true;
    void this.claim(failed, []).finally(() => {
      this.#retrying = false;
    });
  }

  /** For `portferry dump`: a line for each lease, and one for each forward of it that is not listened on. */
  describe(): string {
    return [...this.#leases]
      .flatMap((lease) => {
        const missing = lease.wanted.filter((wanted) => wanted.missing);
        const lines = missing.map(
          ({ rule, state, reason }) => `  ${state} ${formatRule(rule)}: ${reason.message}`,
        );
        return [`lease of ${lease.publisher}: ${lease.size} forwards`, ...lines];
      })
      .map((line) => `${line}\n`)
      .join('');
  }

  /** Tries no more. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retryTimer);
  }

  // ---- what a lease needs ----------------------------------------------------------------------------

  get room(): number {
    let used = 0;
    for (const lease of this.#leases) used += lease.size;
    return this.maxForwards - used;
  }

  async claim(claims: readonly Wanted[], released: readonly Wanted[]): Promise<void> {
    await this.#forwards.claim(claims, released);
    for (const wanted of claims) this.#logChange(wanted);
    if (claims.some(({ pending }) => pending)) this.#retryLater();
  }

  logRefusal({ rule, publisher, reason }: Wanted): void {
    this.#log.warn({ forward: forwardId(rule), publisher }, `refused to ${publisher}: ${reason.message}`);
  }

  ended(lease: Lease): void {
    this.#leases.delete(lease);
  }

  // ---- inside ----------------------------------------------------------------------------------------

  #all(): Wanted[] {
    return [...this.#leases].flatMap(({ wanted }) => wanted);
  }

  #setAside(isMeant: (wanted: Wanted) => boolean): void {
    for (const wanted of this.#all()) {
      if (!isMeant(wanted)) continue;
      wanted.removedByUser = true;
      wanted.refusal = { message: 'it was removed on the host', code: 'ECANCELED' };
      wanted.forward = undefined;
    }
  }

  #retryLater(): void {
    if (this.#closed) return;
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined;
      this.retry();
    }, this.#retryMs);
  }

  /** Each change once, not each attempt. */
  #logChange(wanted: Wanted): void {
    const { rule, publisher, failure, logged, forward } = wanted;
    if (forward && logged !== undefined)
      this.#log.info(
        { forward: forward.id, publisher },
        `${publisher} has got what could not be listened on`,
      );
    const message = forward || !wanted.pending ? undefined : failure?.message;
    if (message !== undefined && message !== logged)
      this.#log.warn(
        { forward: forwardId(rule), publisher, errno: failure?.code },
        `not listening for ${publisher}: ${message} (tried again every ${this.#retryMs / 1000} s)`,
      );
    wanted.logged = message;
  }
}
