import type { EndpointRule } from '../protocol/endpoint-rule.js';
import type { LogTail } from '../protocol/program/log-tail.js';
import type { Logger } from '../protocol/program/logger.js';
import type { ChannelAddress } from '../protocol/transport/channel-address.js';
import type { DashboardAddress } from './dashboard/address.js';
import type { Forward } from './forwards/forward.js';
import type { ForwardRule } from './rule/forward-rule.js';

/** What a host is told to do; complete, with every default filled in. */
export interface HostOptions {
  channel: { mode: 'connect' | 'listen'; address: ChannelAddress };
  /** Exposed at start, as long as the host runs; not kept in the state file. */
  forwards: ForwardRule[];
  controlPath: string;
  /** Keeps forwards that are exposed at run time. */
  stateFile?: string;
  /** What publishers in the guest may expose; see ExposePolicy. Absent: its default. */
  allowExpose?: EndpointRule[];
  /** Where publishers may have unix sockets by default: an absolute path. It is made when it is needed. */
  socketsFolder: string;
  /** Where the dashboard is to listen from the start. Absent: it is off until somebody asks for it. */
  dashboard?: DashboardAddress;
  /** The file that keeps the dashboard's token. It is made when it is needed. */
  dashboardTokenPath: string;
  /** How long a client waits for a channel before it is reset. */
  holdSeconds: number;
  /** Seconds of silence after which the system asks whether a TCP peer is there; 0: never. Absent: 15. */
  keepAliveSeconds?: number;
}

/** What a host gets from its process. */
export interface HostContext {
  logger: Logger;
  /** The last lines of the log, for reports of problems. */
  logTail?: Pick<LogTail, 'lines'>;
  /** Aborted: stop in order, letting what is in flight finish. */
  stop: AbortSignal;
  /** Aborted: the process ends at once. Clients are reset, for the OS would end their connections cleanly. */
  abandon?: AbortSignal;
  onReady?(report: ReadyReport): void;
}

/** Told once, when a host listens for everything it is to listen for. */
export interface ReadyReport {
  controlPath: string;
  forwards: Forward[];
  /** Where the dashboard is, if it is on, without its token. */
  dashboard?: string;
}

/** How long (s) a client is held when nothing else is asked for. */
export const DEFAULT_HOLD_SECONDS = 5;

/** The longest hold (s): a day. No client waits so long, and a timer of Node.js overflows after 24 days. */
export const MAX_HOLD_SECONDS = 86_400;
