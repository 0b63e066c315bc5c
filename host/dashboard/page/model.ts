import type { ChannelReport, StatusReport } from '../../records/reports.js';
import type { ConnectionList } from './connection-list.js';
import type { ForwardList } from './forward-list.js';
import type { Rates } from './rates.js';

/** What the page knows of the host, and what its user wants to see of it. */
export interface Model {
  readonly forwards: ForwardList;
  readonly connections: ConnectionList;
  readonly rates: Rates;
  host: Pick<StatusReport, 'version' | 'pid'> | undefined;
  channel: ChannelReport | undefined;
  /** What is known of the host is not what it is now: why. */
  feedProblem: string | undefined;
  /** The id of the forward that is looked at. */
  selected: string | undefined;
  /** What forwards are looked for. */
  search: string;
  failuresOnly: boolean;
  selectedOnly: boolean;
}

/** What the parts of the page may do to the whole. */
export interface Actions {
  select(id: string | undefined): void;
  /** Something has changed: it is drawn in the next frame. */
  changed(): void;
}
