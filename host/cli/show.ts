import { setTimeout } from 'node:timers/promises';
import { formatAgo } from '../../protocol/duration.js';
import { defineCommand } from '../../protocol/program/run-program.js';
import { nameContainer } from '../../protocol/services/container-name.js';
import { describeSockets } from '../../protocol/socket/socket-report.js';
import type { ControlClient } from '../control/client.js';
import { describeFailures, recentFailures } from '../records/recent-failures.js';
import {
  type ChannelReport,
  FAILED_LATELY_SECONDS,
  type ForwardReport,
  type StatusReport,
} from '../records/reports.js';
import { CLIENT_OPTIONS, makeClient } from './control-option.js';
import { formatBytes, formatDuration, formatTable, writeJson } from './output.js';

/** Between two looks (ms) of which rates are made. */
const BETWEEN_LOOKS_MS = 300;

export const listCommand = defineCommand({
  name: 'list',
  describe: 'List the forwards of a running host',
  options: CLIENT_OPTIONS,
  examples: [
    ['$0 list', 'a table'],
    ['$0 list --json', "an array of objects with vpnkit's field names and more"],
  ],
  async run({ control, json }, _operands, { stdout, environment }) {
    const forwards = await lookTwice(makeClient(control, environment));
    if (json) writeJson(stdout, forwards);
    else stdout.write(forwards.length === 0 ? 'no forwards\n' : formatForwards(forwards));
  },
});

/** What is carried now is known from two looks: where something may be carried, there is a second one. */
async function lookTwice(client: ControlClient): Promise<ForwardReport[]> {
  const forwards = await client.forwards();
  if (!forwards.some(({ counters, rates }) => counters.active > 0 && !rates)) return forwards;
  await setTimeout(BETWEEN_LOOKS_MS);
  return client.forwards();
}

export const statusCommand = defineCommand({
  name: 'status',
  describe: 'Show whether a running host reaches its guest',
  options: CLIENT_OPTIONS,
  examples: [
    ['$0 status', 'in words'],
    ['$0 status --json', '{"channel": {"state": "connected" or "waiting", …}, …}'],
  ],
  async run({ control, json }, _operands, { stdout, environment }) {
    const status = await makeClient(control, environment).status();
    if (json) writeJson(stdout, status);
    else stdout.write(formatStatus(status));
  },
});

export const dumpCommand = defineCommand({
  name: 'dump',
  describe: 'Print the whole state of a running host, for a report of a problem',
  options: CLIENT_OPTIONS,
  examples: [
    ['$0 dump', 'for people'],
    ['$0 dump --json', 'the same as one object'],
  ],
  epilogue:
    'It names addresses, ports, paths, containers and commands, and has the last lines of the log; nothing of what was carried.',
  async run({ control, json }, _operands, { stdout, environment }) {
    const client = makeClient(control, environment);
    if (json) writeJson(stdout, await client.dump());
    else stdout.write(await client.dumpText());
  },
});

/** Forwards that have failed lately of which each has a line below the table. */
const MAX_FAILING = 20;

/** A table of forwards for people, and below it why some are not listened on or fail, and what some cannot do. */
export function formatForwards(forwards: readonly ForwardReport[], now = Date.now()): string {
  // Rare: a column that is all zero would only take room.
  const rare = RARE_COUNTERS.filter(([, counter]) => forwards.some(({ counters }) => counters[counter] > 0));
  const header = [
    ...['FORWARD', 'DESTINATION', 'ACTIVE', 'TOTAL'],
    ...rare.map(([title]) => title),
    ...['TO GUEST', 'TO HOST', 'STATE', 'FOR'],
  ];
  const rows = forwards.map((forward) => {
    const { id, proto, destination, counters, rates, state } = forward;
    // The protocol is that of the forward, unless it is said.
    const to = destination.replace(`${proto} `, '');
    return [
      ...[id, to, String(counters.active), String(counters.connections)],
      ...rare.map(([, counter]) => String(counters[counter])),
      formatCarried(counters.bytesToGuest, rates?.toGuest),
      formatCarried(counters.bytesToHost, rates?.toHost),
      ...[state, describeHolder(forward)],
    ];
  });
  const reasons = forwards.flatMap(({ id, error, limitation }) =>
    [error, limitation].flatMap((why) => (why === undefined ? [] : [`${id}: ${why}\n`])),
  );
  return [formatTable([header, ...rows]), ...reasons, ...formatFailing(forwards, now)].join('');
}

const RARE_COUNTERS = [
  ...([['REFUSED', 'refused'] as const, ['FAILED', 'failed'] as const] as const),
  ...([['EMPTY', 'empty'] as const, ['DROPPED', 'dropped'] as const] as const),
];

/** `1.5 GiB`, or `1.5 GiB (2.0 MiB/s)` while something goes that way. */
function formatCarried(bytes: number, perSecond = 0): string {
  return `${formatBytes(bytes)}${perSecond > 0 ? ` (${formatBytes(perSecond)}/s)` : ''}`;
}

/** Who wants it, and what for: of a container its name alone, where nothing else is to be said. */
function describeHolder({
  publisher,
  origin,
  annotation,
  container,
  container_id: id = '',
}: ForwardReport): string {
  const plain = container !== undefined && annotation === nameContainer({ name: container, id });
  const what = plain ? container : annotation;
  return `${publisher ?? origin}${what === undefined ? '' : `: ${what}`}`;
}

/** A line for each forward that has failed lately: how often, for what cause, when, and why, in words. */
function formatFailing(forwards: readonly ForwardReport[], now: number): string[] {
  const lines = forwards.flatMap(({ id, failures = [] }) => {
    const text = describeFailures(recentFailures(failures, now), now);
    return text === undefined ? [] : [`${id}: ${text}\n`];
  });
  const more = lines.length - MAX_FAILING;
  return more > 0
    ? [...lines.slice(0, MAX_FAILING), `and ${more} more forwards have failed lately: see --json\n`]
    : lines;
}

/** The status for people. */
export function formatStatus(status: StatusReport, now = Date.now()): string {
  const {
    version,
    pid,
    uptimeSeconds,
    channel,
    sockets,
    forwards,
    failedForwards,
    failedConnections,
    stateFile,
  } = status;
  const failed = failedForwards > 0 ? `, and ${failedForwards} that cannot be listened on (see list)` : '';
  const rows = [
    ['host', `portferry ${version}, pid ${pid}, up ${formatDuration(uptimeSeconds)}`],
    ['channel', `${channel.state} since ${channel.since} (${channel.mode} ${channel.address})`],
    ...formatPeer(channel),
    ['streams', String(channel.streams)],
    // A host of an older version, which runs on after an upgrade, does not tell.
    ...((sockets as StatusReport['sockets'] | undefined) ? [['sockets', describeSockets(sockets)]] : []),
    ['forwards', `${forwards}${failed}`],
  ];
  if (stateFile?.problem !== undefined) rows.push(['not saved', stateFile.problem]);
  if (stateFile?.aside)
    rows.push([
      'set aside',
      `${stateFile.aside.path}, a state file not read in whole: ${stateFile.aside.reason}`,
    ]);
  if (channel.reconnects > 0) rows.push(['reconnects', String(channel.reconnects)]);
  if (failedConnections > 0)
    rows.push(['failed', `${failedConnections} connections within ${LATELY} (see list)`]);
  if (channel.lastError !== undefined) rows.push(['last error', describeLastError(channel, now)]);
  return formatTable(rows);
}

const LATELY = formatDuration(FAILED_LATELY_SECONDS);

function describeLastError({ lastError, lastErrorAt }: ChannelReport, now: number): string {
  // A host of an older version does not say when.
  return lastErrorAt === undefined
    ? String(lastError)
    : `${lastError} (${formatAgo(lastErrorAt, now)}, ${lastErrorAt})`;
}

function formatPeer({ peer, roundTripMs }: ChannelReport): string[][] {
  if (!peer) return [];
  const name = peer.version === null ? 'vpnkit-forwarder, or alike' : `portferry ${peer.version}`;
  const roundTrip = roundTripMs === undefined ? '' : `, round trip ${roundTripMs.toFixed(2)} ms`;
  const missing = peer.missing === undefined ? [] : [['upgrade', peer.missing]];
  return [['guest', `${name}${roundTrip}`], ...missing];
}
