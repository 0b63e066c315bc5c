import { type ForwardRule, formatHostEnd } from '../rule/forward-rule.js';
import type { FailureCauses } from './failure-causes.js';

/** What happened on a forward since it was exposed; whoever serves its clients keeps it up to date. */
export interface ForwardCounters {
  /** Clients accepted. */
  connections: number;
  /** Clients being served. */
  active: number;
  /** Clients reset because the guest could not reach the destination. */
  refused: number;
  /** Clients reset for any other reason. */
  failed: number;
  /** Clients whose server ended first, in good order, without having sent a byte. */
  empty: number;
  /** Datagrams that were not carried to their end; UDP only. */
  dropped: number;
  bytesToGuest: number;
  bytesToHost: number;
  /** How long (µs) payload of all its clients together has waited, since the other end allowed no more. */
  stalledMicrosToGuest: number;
  stalledMicrosToHost: number;
}

/** A forward that is listened on. */
export interface Forward {
  /** Stable while it is exposed, for people and logs: `tcp localhost:8080`. */
  readonly id: string;
  /** With the port that was chosen, where 0 was asked for. */
  readonly rule: ForwardRule;
  readonly origin: ForwardOrigin;
  /** Who in the guest wants it, if somebody does: `docker`, say. */
  readonly publisher: string | undefined;
  readonly createdAt: Date;
  /** What is bound: `127.0.0.1:8080`, `[::1]:8080` or a path. */
  readonly addresses: readonly string[];
  /** Every address is bound, as the system lets no narrower one be; who comes by another one than asked for is reset. */
  readonly filtered?: boolean;
  readonly counters: ForwardCounters;
  /** Why connections have failed. */
  readonly failures: FailureCauses;
}

/** Static ones come from the configuration, runtime ones from the user; else it is the guest that wants it. */
export type ForwardOrigin = 'static' | 'runtime' | 'published';

/** The counters of a forward that nobody has used yet. */
export function noCounts(): ForwardCounters {
  return {
    ...{ connections: 0, active: 0, refused: 0, failed: 0, empty: 0, dropped: 0 },
    ...{ bytesToGuest: 0, bytesToHost: 0, stalledMicrosToGuest: 0, stalledMicrosToHost: 0 },
  };
}

/** What people call a forward: `tcp localhost:8080`. */
export function forwardId(rule: ForwardRule): string {
  return `${rule.proto} ${formatHostEnd(rule)}`;
}
