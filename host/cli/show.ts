import { defineCommand } from '../../protocol/program/run-program.js';
import { describeSockets } from '../../protocol/socket/socket-report.js';
import type { ChannelReport, ForwardReport, StatusReport } from '../records/reports.js';
import { CLIENT_OPTIONS, makeClient } from './control-option.js';
import { formatBytes, formatDuration, formatTable, writeJson } from './output.js';

export const listCommand = defineCommand({
  name: 'list',
  describe: 'List the forwards of a running host',
  options: CLIENT_OPTIONS,
  examples: [
    ['$0 list', 'a table'],
    ['$0 list --json', "an array of objects with vpnkit's field names and more"],
  ],
  async run({ control, json }, _operands, { stdout, environment }) {
    const forwards = await makeClient(control, environment).forwards();
    if (json) writeJson(stdout, forwards);
    else stdout.write(forwards.length === 0 ? 'no forwards\n' : formatForwards(forwards));
  },
});

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
  epilogue: 'It names addresses, ports, paths and containers; nothing of what was carried.',
  async run({ control, json }, _operands, { stdout, environment }) {
    const client = makeClient(control, environment);
    if (json) writeJson(stdout, await client.dump());
    else stdout.write(await client.dumpText());
  },
});

/** A table of forwards for people, and below it why some are not listened on, and what some cannot do. */
export function formatForwards(forwards: readonly ForwardReport[]): string {
  // Rare: a column that is all zero would only take room.
  const empties = forwards.some(({ counters }) => counters.empty > 0);
  const drops = forwards.some(({ counters }) => counters.dropped > 0);
  const header = [
    ...['FORWARD', 'DESTINATION', 'ACTIVE', 'TOTAL', 'REFUSED', 'FAILED'],
    ...(empties ? ['EMPTY'] : []),
    ...['TO GUEST', 'TO HOST'],
    ...(drops ? ['DROPPED'] : []),
    ...['STATE', 'FOR'],
  ];
  const rows = forwards.map(({ id, destination, counters, state, publisher, origin, annotation }) => [
    id,
    destination,
    String(counters.active),
    String(counters.connections),
    String(counters.refused),
    String(counters.failed),
    ...(empties ? [String(counters.empty)] : []),
    formatBytes(counters.bytesToGuest),
    formatBytes(counters.bytesToHost),
    ...(drops ? [String(counters.dropped)] : []),
    state,
    `${publisher ?? origin}${annotation === undefined ? '' : `: ${annotation}`}`,
  ]);
  const reasons = forwards.flatMap(({ id, error, limitation }) =>
    [error, limitation].flatMap((why) => (why === undefined ? [] : [`${id}: ${why}\n`])),
  );
  return [formatTable([header, ...rows]), ...reasons].join('');
}

/** The status for people. */
export function formatStatus(status: StatusReport): string {
  const { version, pid, uptimeSeconds, channel, sockets, forwards, failedForwards, stateFile } = status;
  const failed = failedForwards > 0 ? `, and ${failedForwards} that cannot be listened on (see list)` : '';
  const rows = [
    ['host', `portferry ${version}, pid ${pid}, up ${formatDuration(uptimeSeconds)}`],
    ['channel', `${channel.state} since ${channel.since} (${channel.mode} ${channel.address})`],
    ...formatPeer(channel),
    ['streams', String(channel.streams)],
    ['sockets', describeSockets(sockets)],
    ['forwards', `${forwards}${failed}`],
  ];
  if (stateFile?.problem !== undefined) rows.push(['not saved', stateFile.problem]);
  if (channel.reconnects > 0) rows.push(['reconnects', String(channel.reconnects)]);
  if (channel.lastError !== undefined) rows.push(['last error', channel.lastError]);
  return formatTable(rows);
}

function formatPeer({ peer, roundTripMs }: ChannelReport): string[][] {
  if (!peer) return [];
  const name = peer.version === null ? 'vpnkit-forwarder, or alike' : `portferry ${peer.version}`;
  const roundTrip = roundTripMs === undefined ? '' : `, round trip ${roundTripMs.toFixed(2)} ms`;
  const missing = peer.missing === undefined ? [] : [['upgrade', peer.missing]];
  return [['guest', `${name}${roundTrip}`], ...missing];
}
