import { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { Logger } from '../../protocol/program/logger.js';
import type { ForwardMatcher } from '../rule/forward-matcher.js';
import { formatRule, type Note } from '../rule/forward-rule.js';
import type { Claim, Failure, Holder } from './claim.js';
import type { ExposePolicy } from './expose-policy.js';
import { forwardId } from './forward.js';
import type { ForwardTable } from './forward-table.js';
import { Lease, type LeaseKeeper } from './lease.js';
import { MAX_LEASED_FORWARDS } from './lease-request.js';
import { GUEST_LINES_PER_MINUTE } from './listening.js';

/** Leases of one channel: each is a stream, and each port that a userland proxy publishes has one. */
export const MAX_LEASES = 4096;

/** Forwards beyond the number that the host takes that are listed all the same. */
const MAX_LISTED_BEYOND = 256;

export interface LeasesOptions {
  forwards: ForwardTable;
  policy: ExposePolicy;
  /** Forwards that all leases together may want. */
  maxForwards: number;
  logger: Logger;
  /** How many leases there may be. Default: MAX_LEASES. */
  maxLeases?: number;
}

/** What one publisher in the guest wants, on however many leases. */
export interface PublisherReport {
  publisher: string;
  leases: number;
  forwards: number;
  /** How many of these are not listened on. */
  missing: number;
}

/** What publishers in the guest want of this host. */
export class Leases implements LeaseKeeper {
  readonly policy: ExposePolicy;
  readonly maxForwards: number;
  used = 0;
  listed = 0;
  readonly maxListed = MAX_LISTED_BEYOND;
  readonly #forwards: ForwardTable;
  readonly #limited: LogLimiter;
  readonly #leases = new Set<Lease>();
  /** How many there may be. */
  readonly maxLeases: number;

  constructor({ forwards, policy, maxForwards, logger, maxLeases = MAX_LEASES }: LeasesOptions) {
    this.#forwards = forwards;
    this.policy = policy;
    this.maxForwards = maxForwards;
    this.#limited = new LogLimiter(logger, { linesPerInterval: GUEST_LINES_PER_MINUTE });
    this.maxLeases = maxLeases;
  }

  /** A new lease; undefined when there are maxLeases already. */
  open(): Lease | undefined {
    if (this.#leases.size >= this.maxLeases) return undefined;
    const lease = new Lease(this);
    this.#leases.add(lease);
    return lease;
  }

  /** Who asks for forwards, and how many are had. */
  report(): PublisherReport[] {
    const reports = new Map<string, PublisherReport>();
    for (const { publisher, claims } of this.#leases) {
      const report = reports.get(publisher) ?? { publisher, leases: 0, forwards: 0, missing: 0 };
      report.leases++;
      report.forwards += claims.length;
      report.missing += claims.filter((claim) => claim.missing).length;
      reports.set(publisher, report);
    }
    return [...reports.values()];
  }

  /** For `portferry dump`: a line for each lease, and one for each forward of it that is not listened on. */
  describe(): string {
    return [...this.#leases]
      .flatMap((lease) => {
        const missing = lease.claims.filter((claim) => claim.missing);
        const lines = missing.map(
          ({ asked, state, reason }) => `  ${state} ${formatRule(asked)}: ${reason.message}`,
        );
        return [`lease of ${lease.publisher}: ${lease.size} forwards`, ...lines];
      })
      .map((line) => `${line}\n`)
      .join('');
  }

  /** Tells the log what was only counted. */
  close(): void {
    this.#limited.flush();
  }

  // ---- what a lease needs ----------------------------------------------------------------------------

  get full(): Failure {
    const most = `the host takes at most ${this.maxForwards} forwards from one guest`;
    const why =
      this.maxForwards < MAX_LEASED_FORWARDS
        ? ', a third of the files that it may open: raise that limit (ulimit -n) and start it again'
        : ', which cannot be raised: publish fewer';
    return { message: most + why, code: 'EMFILE' };
  }

  claim(claims: readonly Claim[], released: readonly Claim[], persistent?: boolean): Promise<void> {
    return this.#forwards.claim(claims, released, persistent);
  }

  find(matcher: ForwardMatcher, holder: Holder): Claim[] {
    return this.#forwards.find(matcher, holder);
  }

  annotate(claim: Claim, note: Note): void {
    this.#forwards.annotate(claim, note);
  }

  logRefusal({ asked, holder, reason }: Claim): void {
    const fields = { forward: forwardId(asked), publisher: holder.publisher };
    this.#limited.log(
      'warn',
      `refused ${reason.code}`,
      fields,
      `refused to ${holder.publisher}: ${reason.message}`,
    );
  }

  ended(lease: Lease): void {
    this.#leases.delete(lease);
  }
}
