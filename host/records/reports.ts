import type { LeaseOutcome, VpnkitPort } from '../../protocol/services/control.js';
import { knowsAddressAsked } from '../../protocol/socket/packet-info-socket.js';
import type { SocketReport } from '../../protocol/socket/socket-report.js';
import { EVERY_ADDRESS } from '../../protocol/wire/address.js';
import { formatDestination } from '../../protocol/wire/destination.js';
import { Claim } from '../forwards/claim.js';
import type { FailureReport } from '../forwards/failure-causes.js';
import { type Forward, type ForwardCounters, forwardId, noCounts } from '../forwards/forward.js';
import type { SetAside } from '../forwards/state-file.js';
import type { ForwardRule } from '../rule/forward-rule.js';
import { ruleToVpnkit } from '../rule/vpnkit-rule.js';
import type { RatesReport } from './rates.js';

/** A failure within this time (s) is news to who asks what is wrong. */
export const FAILED_LATELY_SECONDS = 900;

/** `GET /v1/status`. */
export interface StatusReport {
  version: string;
  pid: number;
  uptimeSeconds: number;
  channel: ChannelReport;
  sockets: SocketReport;
  /** How many forwards are listened on. */
  forwards: number;
  /** How many are wanted that are not. */
  failedForwards: number;
  /** Connections that have failed within the last FAILED_LATELY_SECONDS, as far as they are still known. */
  failedConnections: number;
  /** Where forwards are kept over a restart, if they are. */
  stateFile?: StateFileReport;
}

export interface StateFileReport {
  path: string;
  /** Why what is exposed now would not outlast a restart; absent when it is saved. */
  problem?: string;
  /** Where what it was when the host started is kept, which could not be understood in whole; absent when it could. */
  aside?: SetAside;
}

export interface ChannelReport {
  state: 'connected' | 'waiting';
  /** As parseAddress reads it. */
  address: string;
  mode: 'listen' | 'connect';
  /** When it came into this state, ISO 8601. */
  since: string;
  peer?: PeerReport;
  /** Why the last channel ended, or could not be had. */
  lastError?: string;
  /** When that was, ISO 8601. */
  lastErrorAt?: string;
  reconnects: number;
  /** Streams open now. */
  streams: number;
  roundTripMs?: number;
}

export interface PeerReport {
  /** Null where it is not portferry. */
  version: string | null;
  features: string[];
  /** Which features only one of the two ends has, and which of them to upgrade. */
  missing?: string;
}

/** `GET /v1/connections`: a connection, or a flow of datagrams, that is open or has ended a while ago. */
export interface ConnectionReport {
  /** Counts up as clients come. */
  id: number;
  /** -1 where it had no stream. */
  streamId: number;
  /** The forward's id. */
  forward: string;
  destination: string;
  /** `address:port`; a client of a unix socket has none. */
  client?: string;
  state: string;
  /** ISO 8601. */
  openedAt: string;
  /** From its beginning until now, or to its end. */
  ageMs: number;
  bytesToGuest: number;
  bytesToHost: number;
  /** Datagrams that were not carried on; UDP only. */
  dropped?: number;
  /** What each part of the way took, in the order of the way. */
  timingsMicros: Record<string, number>;
  /** How long payload has waited each way because its receiver had allowed no more: the server or client did not read. */
  stalledMicros: { toGuest: number; toHost: number };
  /** How it ended, if it has. */
  ending?: EndingReport;
}

/** How a connection ended; docs/records.md says what the words mean. */
export interface EndingReport {
  /** Two letters, which stay as they are. */
  termination: string;
  by: string;
  phase: string;
  how: string;
  /** An errno, or one of our own codes. */
  code?: string;
  /** The server ended first, without having sent a byte. */
  empty?: boolean;
  /** A sentence for people. */
  message: string;
}

/** `GET /v1/forwards`: vpnkit's fields, and more. */
export interface ForwardReport extends VpnkitPort {
  id: string;
  destination: string;
  /** `static`, `runtime` or `published`. */
  origin: string;
  /** Who in the guest wants it, if somebody does. */
  publisher?: string;
  state: LeaseOutcome['state'];
  /** Why it is not listened on. */
  error?: string;
  /** What it cannot do on this machine. */
  limitation?: string;
  /** What is bound: `127.0.0.1:8080`, `[::1]:8080` or a path. */
  addresses: readonly string[];
  /** ISO 8601. */
  createdAt: string;
  counters: ForwardCounters;
  /** Why connections of it have failed, the last cause first; absent where none has. */
  failures?: FailureReport[];
  /** What it carries at present, where somebody has looked at it a moment before. */
  rates?: RatesReport;
  /** What the user should know who has exposed or removed it just now. */
  warning?: string;
}

/** A forward that is listened on, or one that only is wanted. @param rates if they are known */
export function reportForward(forward: Forward | Claim, rates?: RatesReport): ForwardReport {
  if (forward instanceof Claim) return reportClaim(forward);
  const { id, rule, origin, publisher, addresses, createdAt, counters, filtered } = forward;
  const failures = forward.failures.report();
  return {
    ...ruleToVpnkit(rule),
    id,
    destination: formatDestination(rule.destination),
    origin,
    ...(publisher !== undefined && { publisher }),
    state: 'listening',
    ...(filtered ? { limitation: FILTERED } : limitationOf(rule)),
    addresses,
    createdAt: createdAt.toISOString(),
    counters: { ...counters },
    ...(failures.length > 0 && { failures }),
    ...(rates && { rates }),
  };
}

/** What a forward cannot do on this machine. @param tellsAddress as bindUdpSocket has it */
export function limitationOf(
  rule: ForwardRule,
  tellsAddress = knowsAddressAsked(),
): Pick<ForwardReport, 'limitation'> {
  const wildcard = rule.proto === 'udp' && rule.hostIps.some((ip) => EVERY_ADDRESS.includes(ip));
  return wildcard && !tellsAddress ? { limitation: ANY_SOURCE } : {};
}

/** Clients that take answers from everywhere do not notice; one that has connected its socket gets none. */
const ANY_SOURCE =
  'answers may come from another address of this machine than the one that was asked: name the address in the forward where that matters';

/** What the user has asked for is what is served, but somebody may wonder at what is bound. */
const FILTERED =
  'below port 1024 this system lets a user listen on every address only: so it does, and resets whoever comes by another one than asked for';

function reportClaim({ asked, holder, state, reason, since }: Claim): ForwardReport {
  const { origin, publisher } = holder;
  return {
    ...ruleToVpnkit(asked),
    id: forwardId(asked),
    destination: formatDestination(asked.destination),
    origin,
    ...(publisher !== undefined && { publisher }),
    state,
    error: reason.message,
    addresses: [],
    createdAt: since.toISOString(),
    counters: noCounts(),
  };
}
