import { release } from 'node:os';
import type { FrameReport } from '../../protocol/frame-ring.js';
import { kernelNumber } from '../../protocol/machine/kernel-number.js';
import type { ConnectionReport, ForwardReport, StatusReport } from './reports.js';

/** What a dump gives away, said in it: whoever passes it on is to know. */
const HOLDS =
  "This names addresses of clients and servers, ports, paths, containers, the channel's command if it has one, and what the log said last; nothing of what was carried. Read it before you pass it on.";

/** `GET /v1/dump`, and as text `GET /forwards/dump`: all that a report of a problem needs. */
export interface DumpReport {
  /** What in it is private. */
  holds: string;
  versions: Versions;
  status: StatusReport;
  /** The bounds that are in force; what has none is 'unlimited'. */
  limits: Record<string, number | 'unlimited'>;
  forwards: ForwardReport[];
  /** A line for each lease, and one for each forward of it that is not listened on. */
  leases: string[];
  /** Those that are open, and those that have ended last, the last one first; failures are kept longer. */
  connections: { open: ConnectionReport[]; ended: ConnectionReport[] };
  /** The state of the channel's streams, a line each. */
  multiplexer: string[];
  /** The last frames of the channel, the last one last: which they were, and none of what they carried. */
  frames: FrameReport[];
  /** The last lines of the log, the last one last. */
  log: string[];
}

/** What runs, and on what; the kernel by its number alone, for what follows may name whose it is. */
export interface Versions {
  portferry: string;
  /** Of the guest; null of a plain one. */
  peer?: string | null;
  node: string;
  platform: string;
  kernel: string;
}

/** What a dump is made of. */
export type DumpParts = Omit<DumpReport, 'holds' | 'versions' | 'limits' | 'connections'> & {
  limits: Record<string, number>;
  connections: readonly ConnectionReport[];
};

export function makeDump({
  status,
  limits,
  connections,
  forwards,
  leases,
  multiplexer,
  frames,
  log,
}: DumpParts): DumpReport {
  return {
    holds: HOLDS,
    versions: readVersions(status),
    status,
    // JSON has no infinity.
    limits: Object.fromEntries(
      Object.entries(limits).map(([name, most]) => [name, Number.isFinite(most) ? most : 'unlimited']),
    ),
    forwards,
    leases,
    connections: {
      open: connections.filter(({ ending }) => !ending),
      ended: connections.filter(({ ending }) => ending),
    },
    multiplexer,
    frames,
    log,
  };
}

/** The dump as text for people. */
export function formatDump(dump: DumpReport): string {
  const { holds, versions, status, limits, forwards, leases, connections, multiplexer, frames, log } = dump;
  const lines = [
    holds,
    `versions ${JSON.stringify(versions)}`,
    `status ${JSON.stringify(status, undefined, 2)}`,
    `limits ${JSON.stringify(limits)}`,
    ...forwards.map(formatForwardLine),
    ...leases,
    `${connections.open.length} connections are open, and of those that have ended ${connections.ended.length} are known`,
    ...[...connections.open, ...connections.ended].map(formatConnection),
    ...multiplexer,
    `the last ${frames.length} frames`,
    ...frames.map(formatFrame),
    `the last ${log.length} lines of the log`,
    ...log,
  ];
  return `${lines.join('\n')}\n`;
}

function readVersions({ version, channel: { peer } }: StatusReport): Versions {
  return {
    portferry: version,
    ...(peer && { peer: peer.version }),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    kernel: kernelNumber(release()),
  };
}

function formatForwardLine(forward: ForwardReport): string {
  const { id, destination, state, container, counters, failures = [], error } = forward;
  const lines = [
    `forward ${id} → ${destination} ${state}${container === undefined ? '' : ` container=${container}`} ${JSON.stringify(counters)}${error === undefined ? '' : `: ${error}`}`,
    ...failures.map((one) => `  failed ${one.count} × ${one.cause}, last ${one.lastAt}: ${one.lastMessage}`),
  ];
  return lines.join('\n');
}

function formatFrame({ at, direction, type, stream, bytes, allowed }: FrameReport): string {
  const size = bytes === undefined ? '' : ` bytes=${bytes}`;
  const window = allowed === undefined ? '' : ` allowed=${allowed}`;
  return `frame ${at} ${direction} ${type} stream=${stream}${size}${window}`;
}

/** One line: what it is, what it has carried, how long each step took, and how it ended. */
export function formatConnection(connection: ConnectionReport): string {
  const { id, state, streamId, forward, destination, client, openedAt, timingsMicros, ending } = connection;
  const { bytesToGuest, bytesToHost, dropped, stalledMicros: stalled } = connection;
  const steps = Object.entries(timingsMicros).map(([step, micros]) => `${step}=${micros}µs`);
  return [
    `connection ${id} ${state}`,
    ...(ending ? [ending.termination, `${ending.by}/${ending.phase}/${ending.how}`] : []),
    ...(ending?.code === undefined ? [] : [ending.code]),
    `${forward} → ${destination}`,
    ...(client === undefined ? [] : [`from ${client}`]),
    ...(streamId < 0 ? [] : [`stream=${streamId}`]),
    `opened=${openedAt} age=${connection.ageMs.toFixed(1)}ms`,
    `to-guest=${bytesToGuest} to-host=${bytesToHost}`,
    ...(dropped === undefined ? [] : [`dropped=${dropped}`]),
    ...steps,
    ...(stalled.toGuest > 0 ? [`stalled-to-guest=${stalled.toGuest}µs`] : []),
    ...(stalled.toHost > 0 ? [`stalled-to-host=${stalled.toHost}µs`] : []),
    ...(ending ? [`: ${ending.message}`] : []),
  ].join(' ');
}
