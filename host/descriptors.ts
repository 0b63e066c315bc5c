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
