import net from 'node:net';
import { errnoOf, messageOf } from '../../protocol/errors.js';
import { reachableAt } from '../../protocol/wire/address.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import type { ConnectionRecord } from '../records/connection-record.js';
import type { Records } from '../records/records.js';
import type { ConnectionReport, ForwardReport } from '../records/reports.js';

/** How long (ms) a dial may take before the probe gives up: what takes longer is reported as that. */
const DIAL_WAIT_MS = 6_000;

/** How long (ms) after the dial the server is given to break off: one that does so does it at once. */
const SETTLE_MS = 250;

/** One real connection through a forward. */
export interface ProbeReport {
  /** The host's address that was connected to. */
  address: string;
  /** `connected`: to the server; `unknown`: a plain guest does not say; `failed`; `slow`: still being dialled. */
  outcome: 'connected' | 'unknown' | 'failed' | 'slow';
  /** What the host's record of it says, if it came so far. */
  record?: ConnectionReport;
  /** Why the host's own port could not be connected to. */
  error?: string;
}

/**
 * Makes a connection through a TCP forward, sends nothing, and closes it.
 * @param records of the host that listens
 */
export async function probe(
  { id, addresses }: Pick<ForwardReport, 'id' | 'addresses'>,
  records: Pick<Records, 'observe' | 'open' | 'ended'>,
  { dialWaitMs = DIAL_WAIT_MS, settleMs = SETTLE_MS } = {},
): Promise<ProbeReport> {
  const address = addresses[0] as string;
  const startedAt = performance.now();
  const socket = net.connect(targetOf(address));
  const outcome = await connected(socket).then(
    async (client) => {
      // A unix socket's clients have no address.
      const isIt = ({ forward, source, acceptedAt }: ConnectionRecord): boolean =>
        source.client
          ? formatHostPort(source.client.ip, source.client.port) === client
          : forward.id === id && acceptedAt >= startedAt;
      const record = await recordOf(isIt, records, dialWaitMs, settleMs);
      return { outcome: outcomeOf(record), ...(record && { record: record.report() }) };
    },
    (thrown: unknown) => ({ outcome: 'failed' as const, error: String(errnoOf(thrown)) }),
  );
  socket.destroy();
  return { address, ...outcome };
}

/**
 * Makes a connection to a port of this host that another program forwards, sends nothing, and closes it. There is no
 * record of it: what breaks off at once, in good order or not, has failed.
 */
export async function probeOther(
  address: string,
  { settleMs = SETTLE_MS, connectMs = DIAL_WAIT_MS } = {},
): Promise<ProbeReport> {
  const socket = net.connect({ ...targetOf(address), signal: AbortSignal.timeout(connectMs) });
  const report = await new Promise<ProbeReport>((resolve) => {
    const failed = (error: string): void => resolve({ address, outcome: 'failed', error });
    socket.on('error', (thrown) => failed(messageOf(thrown)));
    socket.on('end', () => failed('it ended the connection at once'));
    socket.on('connect', () => {
      socket.resume();
      setTimeout(() => resolve({ address, outcome: 'connected' }), settleMs);
    });
  });
  socket.destroy();
  return report;
}

function targetOf(address: string): net.NetConnectOpts & net.SocketConstructorOpts {
  if (address.startsWith('/')) return { path: address };
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[|\]$/g, '');
  return { host: reachableAt(host), port: Number(address.slice(colon + 1)) };
}

/** @returns who the client is to the listener */
function connected(socket: net.Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    // Later ones are in the connection's record.
    socket.on('error', reject);
    socket.once('connect', () => {
      socket.resume();
      resolve(formatHostPort(socket.localAddress ?? '', socket.localPort ?? 0));
    });
  });
}

/** Waits until the record of a client says how its dial went, and a moment more. */
function recordOf(
  isIt: (record: ConnectionRecord) => boolean,
  records: Pick<Records, 'observe' | 'open' | 'ended'>,
  dialWaitMs: number,
  settleMs: number,
): Promise<ConnectionRecord | undefined> {
  return new Promise((resolve) => {
    const find = (): ConnectionRecord | undefined => [...records.open, ...records.ended()].find(isIt);
    const done = (): void => {
      clearTimeout(timer);
      stop();
      resolve(find());
    };
    let timer = setTimeout(done, dialWaitMs);
    const dialled = (): void => {
      clearTimeout(timer);
      timer = setTimeout(done, settleMs);
    };
    const stop = records.observe({
      onDialled: (record) => isIt(record) && dialled(),
      onFirstByte: (record) => isIt(record) && dialled(),
      onEnded: (record) => isIt(record) && done(),
    });
    const early = find();
    if (early?.ending) done();
    else if (early?.state === 'connected') dialled();
  });
}

function outcomeOf(record: ConnectionRecord | undefined): ProbeReport['outcome'] {
  if (!record) return 'unknown';
  if (record.ending)
    return record.ending.outcome === 'closed' && !record.ending.empty ? 'connected' : 'failed';
  if (record.state === 'connected') return 'connected';
  return record.state === 'opening' ? 'slow' : 'unknown';
}
