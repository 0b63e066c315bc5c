import { once } from 'node:events';
import net from 'node:net';
import t, { type Test } from 'tap';
import { probe, probeOther } from '../../../host/diagnose/probe.js';
import type { ConnectionRecord } from '../../../host/records/connection-record.js';
import { closed, endedByHost } from '../../../host/records/ending.js';
import { Records } from '../../../host/records/records.js';
import { fakeCarrier } from '../../fixtures/fake-carrier.js';
import { fakeForward } from '../../fixtures/fake-forward.js';
import { temporaryFolder } from '../../fixtures/programs.js';

const QUICK = { dialWaitMs: 100, settleMs: 1 };
const REFUSED = endedByHost({ code: 'ECONNREFUSED', message: 'nobody there' }, 'refused');

/** A listener of a forward; `serve` tells the record of each client what happens to it. */
async function listen(
  t: Test,
  serve: (record: ConnectionRecord, socket: net.Socket) => void,
  path?: string,
): Promise<{ records: Records; address: string }> {
  const records = new Records();
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    const { remoteAddress: ip, remotePort: port = 0 } = socket;
    const client = ip === undefined ? undefined : { ip, port };
    const record = records.begin(fakeForward(), { client, listener: undefined });
    serve(record, socket);
  });
  t.teardown(() => void server.close());
  server.listen(path ?? { port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  const bound = server.address();
  return {
    records,
    address: typeof bound === 'string' ? bound : `127.0.0.1:${(bound as net.AddressInfo).port}`,
  };
}

async function tryIt(
  t: Test,
  serve: (record: ConnectionRecord, socket: net.Socket) => void,
  change: (address: string) => string = (address) => address,
  path?: string,
): ReturnType<typeof probe> {
  const { records, address } = await listen(t, serve, path);
  return probe({ id: 'tcp localhost:8080', addresses: [change(address)] }, records, QUICK);
}

const open = (record: ConnectionRecord): void => record.streamOpened(1, fakeCarrier());

t.test('a server that is reached', async (t) => {
  const outcome = await tryIt(t, (record) => {
    open(record);
    record.dialled({ step: 'connected', micros: 5 } as never);
  });
  t.match(outcome, { outcome: 'connected', record: { timingsMicros: { guestDial: 5 } } });
});

t.test('a server that is reached after a while', async (t) => {
  const outcome = await tryIt(t, (record) => {
    open(record);
    // Not before the probe watches.
    setImmediate(() => setImmediate(() => record.dialled({ step: 'connected', micros: 5 } as never)));
  });
  t.match(outcome, { outcome: 'connected' });
});

t.test('a server that speaks first, by an address that stands for every one', async (t) => {
  const outcome = await tryIt(
    t,
    (record) => {
      open(record);
      setImmediate(() => record.firstByte());
    },
    (address) => address.replace('127.0.0.1', '0.0.0.0'),
  );
  t.match(outcome, { outcome: 'connected' });
});

t.test('a unix socket', async (t) => {
  const serve = (record: ConnectionRecord): void => {
    open(record);
    record.ended(closed('client'));
  };
  const outcome = await tryIt(t, serve, undefined, `${temporaryFolder(t)}/s`);
  t.match(outcome, { outcome: 'connected', record: { ending: { termination: '--' } } });
});

t.test('a dial that fails', async (t) => {
  const outcome = await tryIt(t, (record) => {
    open(record);
    setImmediate(() => record.ended(REFUSED));
  });
  t.match(outcome, { outcome: 'failed', record: { ending: { code: 'ECONNREFUSED' } } });
});

t.test('an empty reply', async (t) => {
  const outcome = await tryIt(t, (record) => {
    open(record);
    record.ended(closed('server'));
  });
  t.match(outcome, { outcome: 'failed', record: { ending: { termination: 'SE' } } });
});

t.test('a dial that takes too long, and a client that is held', async (t) => {
  t.match(await tryIt(t, open), { outcome: 'slow' });
  t.match(await tryIt(t, () => {}), { outcome: 'unknown' });
});

t.test('a port that nobody listens on, or that is not the host’s', async (t) => {
  const records = new Records();
  t.match(await probe({ id: '', addresses: ['127.0.0.1:1'] }, records, QUICK), {
    outcome: 'failed',
    error: 'ECONNREFUSED',
  });
  const { address } = await listen(t, () => {});
  t.match(await probe({ id: '', addresses: [address] }, records, QUICK), { outcome: 'unknown' });
});

t.test('a port that another program forwards', async (t) => {
  const addressOf = async (onClient: (socket: net.Socket) => void): Promise<string> =>
    (await listen(t, (_, socket) => onClient(socket))).address;
  const quick = { settleMs: 100 };
  t.match(await probeOther(await addressOf(() => {}), { settleMs: 1 }), { outcome: 'connected' });
  t.match(await probeOther(await addressOf((socket) => socket.end()), quick), {
    outcome: 'failed',
    error: 'it ended the connection at once',
  });
  t.match(await probeOther(await addressOf((socket) => socket.resetAndDestroy()), quick), {
    outcome: 'failed',
    error: /ECONNRESET/,
  });
  t.match(await probeOther('127.0.0.1:1'), { outcome: 'failed', error: /ECONNREFUSED/ });
});
