import type { ChannelReport, ConnectionReport, ForwardReport } from './reports.js';

/** What `/v1/events` tells, one JSON object a message; docs/api.md says when each comes. */
export type HostEvent = HelloEvent | ConnectionEvent | ChannelEvent | ForwardEvent | TrafficEvent | LostEvent;

/** Comes first, always. `time` is ISO 8601, here as in all others. */
export interface HelloEvent {
  type: 'hello';
  version: string;
  pid: number;
  time: string;
}

/** A client has come, or its connection or flow is over: `connection.ending` says how. */
export interface ConnectionEvent {
  type: 'opened' | 'ended';
  time: string;
  connection: ConnectionReport;
}

/** The channel came up or went down; at the start, how it stands. */
export interface ChannelEvent {
  type: 'channel';
  time: string;
  channel: ChannelReport;
}

/** A forward is listened on, is so no longer, or cannot be. */
export interface ForwardEvent {
  type: 'forward';
  time: string;
  change: ForwardChange;
  forward: ForwardReport;
}

export type ForwardChange = 'added' | 'removed' | 'failed';

/** The counters of those forwards that have carried something since the last one. */
export interface TrafficEvent {
  type: 'traffic';
  time: string;
  forwards: ForwardTraffic[];
}

/** All but `active` count from when the forward was exposed. */
export interface ForwardTraffic {
  id: string;
  active: number;
  bytesToGuest: number;
  bytesToHost: number;
  connections: number;
  refused: number;
  failed: number;
}

/** The reader was too slow: so many events were left out here. */
export interface LostEvent {
  type: 'lost';
  time: string;
  events: number;
}

/** Types that a subscriber can choose from; `hello` and `lost` always come, `traffic` where it is asked for. */
export const EVENT_TYPES = ['opened', 'ended', 'channel', 'forward'] as const;

export type ChosenType = (typeof EVENT_TYPES)[number];
