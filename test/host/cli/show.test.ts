import t from 'tap';
import { formatForwards, formatStatus } from '../../../host/cli/show.js';
import type { ForwardReport } from '../../../host/records/reports.js';
import { fakeStatus } from '../../fixtures/control-reports.js';

function forward(id: string, dropped: number, empty = 0): ForwardReport {
  return {
    proto: 'udp',
    id,
    destination: 'udp 127.0.0.1:53',
    origin: 'static',
    state: 'listening',
    addresses: [],
    createdAt: '2026-01-01T00:00:00.000Z',
    counters: {
      ...{ connections: 3, active: 2, refused: 0, failed: 0, empty, dropped },
      ...{ bytesToGuest: 17, bytesToHost: 2048, stalledMicrosToGuest: 0, stalledMicrosToHost: 0 },
    },
  };
}

t.test('dropped datagrams have a column when there are some', async (t) => {
  const all = [forward('udp localhost:53', 0), forward('udp localhost:54', 4)];
  t.match(
    formatForwards(all),
    /TOTAL {2}DROPPED {2}TO GUEST .*\nudp localhost:53 .* 3 +0 +17 B .*\nudp localhost:54 .* 3 +4 +17 B .* 2\.0 KiB .*\n$/,
  );
  t.notMatch(formatForwards(all.slice(0, 1)), /DROPPED/);
});

t.test('whom a forward is for is said with what its publisher has to say of it', async (t) => {
  const published = { publisher: 'docker', annotation: 'container web (1a2b3c4d5e6f)' };
  const table = formatForwards([{ ...forward('udp *:53', 0), ...published }, forward('udp localhost:54', 0)]);
  t.match(table, /^udp \*:53 .* listening {2}docker: container web \(1a2b3c4d5e6f\)$/m);
  t.match(table, /^udp localhost:54 .* listening {2}static$/m);
});

t.test('so have replies without a byte', async (t) => {
  const table = formatForwards([forward('udp localhost:53', 0), forward('udp localhost:54', 0, 5)]);
  t.match(
    table,
    /TOTAL {2}EMPTY {2}TO GUEST .*\nudp localhost:53 .* 3 +0 +17 B .*\nudp localhost:54 .* 3 +5 +17 B/,
  );
});

t.test('what a forward cannot do stands below the table', async (t) => {
  const one = { ...forward('udp *:53', 0), limitation: 'answers may come from elsewhere' };
  t.match(formatForwards([one]), /\nudp \*:53: answers may come from elsewhere\n$/);
});

t.test('a container is called by its name, unless there is more to say', async (t) => {
  const of = { publisher: 'docker', container: 'web', container_id: '1a2b3c4d5e6f' };
  const annotation = 'container web (1a2b3c4d5e6f)';
  t.match(formatForwards([{ ...forward('udp *:53', 0), ...of, annotation }]), / docker: web$/m);
  const doubted = `${annotation}; the Docker engine does not answer`;
  t.match(formatForwards([{ ...forward('udp *:53', 0), ...of, annotation: doubted }]), /does not answer$/m);
  t.match(formatForwards([{ ...forward('udp *:53', 0), publisher: 'x', container: 'web' }]), / x$/m);
});

t.test('what goes through at present stands beside what has gone through', async (t) => {
  const rates = { toGuest: 0, toHost: 2048 };
  t.match(formatForwards([{ ...forward('udp *:53', 0), rates }]), / 17 B +2\.0 KiB \(2\.0 KiB\/s\) /);
});

const FAILURE = {
  ...{ cause: 'SC ECONNREFUSED', count: 3 },
  ...{ lastMessage: 'nobody there', lastAt: '1970-01-01T00:00:00.000Z' },
};

t.test('why forwards have failed lately stands below the table, a line each', async (t) => {
  const failures = [FAILURE, { ...FAILURE, cause: 'XD', count: 1 }];
  const one = { ...forward('udp *:53', 0), failures };
  t.match(
    formatForwards([one], 65_000),
    /\nudp \*:53: failed 3 times \(SC ECONNREFUSED\), the last time 1 min ago: nobody there; and once \(XD\)\n$/,
  );
  t.notMatch(formatForwards([one], 24 * 3_600_000), /ECONNREFUSED/, 'it is no news any more');
  const many = formatForwards(
    Array.from({ length: 30 }, () => one),
    0,
  );
  t.equal(many.match(/nobody there/g)?.length, 20);
  t.match(many, /\nand 10 more forwards have failed lately: see --json\n$/);
});

t.test('a table without anything unusual fits into 100 columns', async (t) => {
  const common = { ...forward('tcp localhost:8080', 0), destination: 'tcp 172.17.0.2:5432' };
  const proto = 'tcp';
  const of = { publisher: 'docker', container: 'postgres-1', container_id: '1a2b3c4d5e6f' };
  const one = { ...common, ...of, proto, annotation: 'container postgres-1 (1a2b3c4d5e6f)' } as const;
  t.ok(
    formatForwards([one])
      .split('\n')
      .every((line) => line.length <= 100),
  );
});

t.test('the status says when the channel failed last, and how many connections have', async (t) => {
  const lastError = 'the peer closed the channel';
  t.match(formatStatus(fakeStatus({ lastError })), /^last error +the peer closed the channel$/m);
  const at = '1970-01-01T00:00:00.000Z';
  t.match(
    formatStatus({ ...fakeStatus({ lastError, lastErrorAt: at }), failedConnections: 7 }, 125_000),
    /^failed +7 connections within 15 min \(see list\)\nlast error +the peer closed the channel \(2 min ago, 1970-01-01T00:00:00\.000Z\)$/m,
  );
});
