import { OperationError } from '../protocol/errors.js';
import { MAX_LEASED_FORWARDS } from './forwards/lease-request.js';

/**
 * Kept for what is neither client nor listener nor control connection: Node's own (some 20), the channel and one that
 * wants to be it, the state file while it is saved, and finding out who holds a port.
 */
const RESERVED = 48;

/** Connections to the control socket: a person's commands, a few programs that watch. */
const MAX_CONTROL_CONNECTIONS = 32;

/** Connections to the dashboard: a browser opens six, and one more for each page that watches. */
const MAX_DASHBOARD_CONNECTIONS = 16;

/** With very few descriptors each of these two gets no more than an eighth of them. */
const LEAST_CONTROL_SHARE = 8;

/** Of what is left, listening sockets may have two thirds; clients always have the rest, and what these leave. */
const LISTENERS_SHARE = 2 / 3;

/**
 * Publishers in the guest may have as many forwards as a quarter of it. Most listen on one or two addresses, so that
 * the user's own forwards find room beside them.
 */
const LEASED_SHARE = 4;

/** Where the OS does not tell: what macOS gives a process of launchd. */
const UNKNOWN_LIMIT = 256;

interface ProcessReport {
  userLimits?: { open_files?: { soft?: number | string } };
}

/**
 * How many file descriptors this process may have; Infinity where there is no limit. Node.js raises the soft limit to
 * the hard one at its start.
 */
export function descriptorLimit(report: unknown = process.report.getReport()): number {
  const limit = (report as ProcessReport).userLimits?.open_files?.soft;
  if (limit === 'unlimited') return Number.POSITIVE_INFINITY;
  return typeof limit === 'number' ? limit : UNKNOWN_LIMIT;
}

/**
 * Who may have how many of the host's file descriptors. Were they to run out, the OS's connections would be ended
 * without a word, the control socket's too: so each kind has a share, and what is beyond it is refused or waits.
 */
export class Descriptors {
  /** All that the process may have. */
  readonly limit: number;
  readonly maxControlConnections: number;
  /** Listening sockets of all forwards; a forward on localhost has two. */
  readonly maxListeners: number;
  /** Forwards that publishers in the guest may have. */
  readonly maxLeasedForwards: number;
  /** What clients and listeners have together. */
  #shared: number;
  #listeners = 0;

  constructor(limit: number = descriptorLimit()) {
    this.limit = limit;
    this.maxControlConnections = Math.min(MAX_CONTROL_CONNECTIONS, Math.floor(limit / LEAST_CONTROL_SHARE));
    this.#shared = Math.max(0, limit - RESERVED - this.maxControlConnections);
    this.maxListeners = Math.floor(this.#shared * LISTENERS_SHARE);
    this.maxLeasedForwards = Math.min(MAX_LEASED_FORWARDS, Math.floor(this.#shared / LEASED_SHARE));
  }

  /** Clients at once, beside the listening sockets that there are now. */
  get maxClients(): number {
    return this.#shared - this.#listeners;
  }

  /**
   * Takes what a forward's listening sockets need.
   * @param what the forward, for the message
   * @throws OperationError EMFILE when there is no room for so many more
   */
  takeListeners(count: number, what: string): void {
    if (this.#listeners + count > this.maxListeners) {
      const message =
        `cannot listen on ${what}: that takes ${count} more file ${count === 1 ? 'descriptor' : 'descriptors'}, and ` +
        `${this.#listeners} of the ${this.maxListeners} for listening sockets are in use (this process may have ` +
        `${this.limit} in all); remove forwards, or raise the limit (ulimit -n; under launchd, NumberOfFiles) ` +
        'and restart the host';
      throw Object.assign(new OperationError(message), { code: 'EMFILE' });
    }
    this.#listeners += count;
  }

  /** The dashboard is on, and takes its share from the clients'. @returns how many connections it may have */
  takeDashboard(): number {
    const share = Math.min(MAX_DASHBOARD_CONNECTIONS, Math.floor(this.limit / LEAST_CONTROL_SHARE));
    this.#shared -= share;
    return share;
  }

  /** Gives back what takeListeners has taken. */
  giveListeners(count: number): void {
    this.#listeners -= count;
  }
}
