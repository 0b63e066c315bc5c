import t from 'tap';
import type { Forward } from '../../../host/forwards/forward.js';
import type { ConnectionRecord } from '../../../host/records/connection-record.js';
import { clientFailed, closed, endedByHost } from '../../../host/records/ending.js';
import { Records } from '../../../host/records/records.js';
import { reportForward } from '../../../host/records/reports.js';
import { fakeCarrier } from '../../fixtures/fake-carrier.js';
import { fakeForward } from '../../fixtures/fake-forward.js';

const NOBODY = { client: undefined, listener: undefined };
const CLIENT = { ip: '127.0.0.1', port: 5555 };
const RESET = clientFailed({ code: 'ECONNRESET', message: 'read ECONNRESET' });
const CONNECTED = { step: 'connected', micros: 200, reason: undefined } as const;

/** A connection that has a stream. */
function serve(records: Records, forward: Forward, carried = fakeCarrier()): ConnectionRecord {
  const record = records.begin(forward, { client: CLIENT, listener: undefined });
  record.streamOpened(4, carried);
  return record;
}

t.test('a connection is reported from its beginning to its end', async (t) => {
  const records = new Records();
  const forward = fakeForward();
  const record = records.begin(forward, { client: CLIENT, listener: undefined });
  const held = record.report();
  t.match(held, { id: 1, streamId: -1, state: 'held', client: '127.0.0.1:5555', openedAt: /T.*Z$/ });
  t.match(held, { forward: forward.id, destination: 'tcp 127.0.0.1:80', bytesToGuest: 0, timingsMicros: {} });
  t.notOk('ending' in held);
  const carrier = fakeCarrier(3);
  record.streamOpened(4, carrier);
  t.match(record.report(), { streamId: 4, state: 'opening', bytesToGuest: 3 });
  record.dialled(CONNECTED);
  carrier.bytesReceived = 7;
  record.firstByte();
  t.match(record.report(), { state: 'connected', bytesToHost: 7 });
  t.match(records.open, new Set([record]));
  record.ended(closed('client'));
  carrier.bytesReceived = 1000;
  const ended = record.report();
  t.match(ended, {
    ...{ state: 'closed', bytesToGuest: 3, bytesToHost: 7 },
    ending: {
      termination: '--',
      by: 'client',
      phase: 'data',
      how: 'FIN',
      message: 'the client ended the connection',
    },
  });
  t.same(Object.keys(ended.timingsMicros), ['hold', 'channel', 'guestDial', 'firstByte', 'total']);
  t.equal(ended.timingsMicros['guestDial'], 200);
  t.equal(record.report().ageMs, ended.ageMs, 'it does not grow older');
  t.equal(records.open.size, 0);
});

t.test('a client of a unix socket has no address, and one of a link no zone', async (t) => {
  const records = new Records();
  t.notOk('client' in records.begin(fakeForward(), NOBODY).report());
  const client = { ip: 'fe80::1%eth0', port: 1 };
  const record = records.begin(fakeForward(), { client, listener: { ip: 'fe80::2%eth0', port: 2 } });
  t.same(record.source, { client: { ip: 'fe80::1', port: 1 }, listener: { ip: 'fe80::2', port: 2 } });
});

t.test('how far it had come', async (t) => {
  const records = new Records();
  const phases: [(record: ConnectionRecord) => void, string][] = [
    [() => {}, 'dialling'],
    [(record) => record.dialled(CONNECTED), 'data'],
    [(record) => record.firstByte(), 'data'],
  ];
  for (const [happen, phase] of phases) {
    const record = serve(records, fakeForward());
    happen(record);
    record.ended(RESET);
    t.equal(record.ending?.phase, phase);
  }
  const held = records.begin(fakeForward(), NOBODY);
  held.ended(RESET);
  t.equal(held.ending?.phase, 'waiting');
});

t.test('observers hear every event, in order, as long as they want', async (t) => {
  const records = new Records();
  const heard: string[] = [];
  const quiet = records.observe({});
  const stop = records.observe({
    onOpened: ({ id }) => heard.push(`${id} opened`),
    onDialled: ({ id }) => heard.push(`${id} dialled`),
    onFirstByte: ({ id }) => heard.push(`${id} first byte`),
    onEnded: ({ id }, { termination }) => heard.push(`${id} ended ${termination}`),
  });
  const record = serve(records, fakeForward());
  record.dialled(CONNECTED);
  record.firstByte();
  record.ended(RESET);
  t.same(heard, ['1 opened', '1 dialled', '1 first byte', '1 ended CD']);
  stop();
  quiet();
  serve(records, fakeForward()).ended(RESET);
  t.equal(heard.length, 4);
});

t.test('counters: what has ended, what is open, and what has been carried so far', async (t) => {
  const records = new Records();
  const forward = fakeForward();
  const { counters } = forward;
  const carried = fakeCarrier(10, 20);
  const record = serve(records, forward, carried);
  t.match(counters, { connections: 1, active: 1, bytesToGuest: 0 });
  records.settle();
  t.match(counters, { bytesToGuest: 10, bytesToHost: 20 });
  carried.bytesSent = 15;
  records.settle();
  records.settle();
  t.match(counters, { bytesToGuest: 15, bytesToHost: 20 });
  carried.bytesReceived = 21;
  record.ended(closed('server'));
  t.match(counters, { active: 0, refused: 0, failed: 0, empty: 0, bytesToGuest: 15, bytesToHost: 21 });
  serve(records, forward).ended(RESET);
  serve(records, forward).ended({ outcome: 'refused', by: 'server', how: 'error', message: '' });
  t.match(counters, { connections: 3, active: 0, refused: 1, failed: 1 });
});

t.test('a server that ends first and has said nothing is an empty reply', async (t) => {
  const records = new Records();
  const forward = fakeForward();
  const record = serve(records, forward, fakeCarrier(5));
  record.ended(closed('server'));
  t.match(record.report().ending, { termination: 'SE', empty: true });
  serve(records, forward).ended(closed('client'));
  t.match(forward.counters, { empty: 1, failed: 0 });
});

t.test('of connections that have ended the last are kept, and failures longer', async (t) => {
  const records = new Records({ successes: 2, failures: 3 });
  const forward = fakeForward();
  const end = (cause: Parameters<ConnectionRecord['ended']>[0], times: number): void => {
    for (let time = 0; time < times; time++) serve(records, forward).ended(cause);
  };
  const ids = () => records.report().map(({ id }) => id);
  t.same(ids(), []);
  end(RESET, 1);
  t.same(ids(), [1]);
  end(RESET, 3);
  end(closed('client'), 50);
  t.same(ids(), [54, 53, 4, 3, 2]);
  end(endedByHost({ code: 'STOPPED', message: '' }), 1);
  serve(records, forward);
  t.same(ids(), [56, 55, 54, 53, 4, 3], 'open ones come first');
});

t.test('a forward knows why its connections have failed', async (t) => {
  const records = new Records();
  const forward = fakeForward();
  t.notOk('failures' in reportForward(forward));
  serve(records, forward).ended(closed('client'));
  serve(records, forward).ended(RESET);
  serve(records, forward).ended(RESET);
  serve(records, forward).ended(closed('server'));
  t.match(reportForward(forward, { toGuest: 1, toHost: 2 }), {
    failures: [
      {
        cause: 'SE',
        count: 1,
        lastMessage: 'the server ended the connection without having sent a byte',
        lastAt: /T.*Z$/,
      },
      { cause: 'CC ECONNRESET', count: 2, lastMessage: /^the client reset the connection/ },
    ],
    rates: { toGuest: 1, toHost: 2 },
  });
});

t.test('how long payload has waited each way, while it is open and afterwards', async (t) => {
  const records = new Records();
  const carrier = fakeCarrier();
  const record = serve(records, fakeForward(), carrier);
  t.same(record.report().stalledMicros, { toGuest: 0, toHost: 0 });
  Object.assign(carrier, { sendStalledMs: 1.5, receiveStalledMs: 20 });
  t.same(record.report().stalledMicros, { toGuest: 1500, toHost: 20_000 });
  record.ended(closed('client'));
  Object.assign(carrier, { sendStalledMs: 99 });
  t.same(record.report().stalledMicros, { toGuest: 1500, toHost: 20_000 });
});
