import { MAX_LEASED_FORWARDS } from './forwards/lease-request.js';

/** What the host needs besides its clients: listeners, the channel, control clients, log, state file, libuv. */
const RESERVED = 256;

/** Where the OS does not tell: what macOS gives a process of launchd. */
const UNKNOWN_LIMIT = 256;

interface ProcessReport {
  userLimits?: { open_files?: { soft?: number | string } };
}

/**
 * How many clients a host can serve at once: each takes one file descriptor of those the process may have.
 * Node.js raises the soft limit to the hard one at its start.
 */
export function maxClients(report: unknown = process.report.getReport()): number {
  const limit = (report as ProcessReport).userLimits?.open_files?.soft;
  if (limit === 'unlimited') return Number.POSITIVE_INFINITY;
  const descriptors = typeof limit === 'number' ? limit : UNKNOWN_LIMIT;
  return Math.max(descriptors - RESERVED, Math.floor(descriptors / 2));
}

/** A forward may listen on both families. */
const LISTENERS_PER_FORWARD = 2;

/** Publishers in the guest must leave clients a third of what these could have, when all listen on both families. */
const LEASED_SHARE = 3;

/**
 * How many forwards publishers in the guest may have.
 * @param descriptors what maxClients says
 */
export function maxLeasedForwards(descriptors = maxClients()): number {
  return Math.min(MAX_LEASED_FORWARDS, Math.floor(descriptors / LEASED_SHARE));
}

/** How many clients can be served at once beside the listeners of so many forwards. */
export function maxClientsBeside(forwards: number, descriptors: number): number {
  return descriptors - forwards * LISTENERS_PER_FORWARD;
}
