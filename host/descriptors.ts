import { MAX_LEASED_FORWARDS } from '../protocol/limits.js';

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

/** Each leased forward listens on both families, so that they can take two thirds of what clients might need. */
const LEASED_SHARE = 3;
const LISTENERS_PER_FORWARD = 2;

/**
 * How many clients, and how many forwards for publishers in the guest, there can be at once: neither may take
 * the descriptors that the other needs.
 * @param descriptors what maxClients says
 */
export function divideDescriptors(descriptors = maxClients()): {
  maxClients: number;
  maxLeasedForwards: number;
} {
  const maxLeasedForwards = Math.min(MAX_LEASED_FORWARDS, Math.floor(descriptors / LEASED_SHARE));
  return { maxClients: descriptors - maxLeasedForwards * LISTENERS_PER_FORWARD, maxLeasedForwards };
}
