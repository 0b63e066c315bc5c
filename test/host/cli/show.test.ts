import t from 'tap';
import { formatForwards } from '../../../host/cli/show.js';
import type { ForwardReport } from '../../../host/records/reports.js';

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
      ...{ bytesToGuest: 17, bytesToHost: 2048 },
    },
  };
}

t.test('dropped datagrams have a column when there are some', async (t) => {
  const all = [forward('udp localhost:53', 0), forward('udp localhost:54', 4)];
  t.match(
    formatForwards(all),
    /TO HOST {2}DROPPED {2}STATE .*\nudp localhost:53 .* 17 B .* 2\.0 KiB {2}0 .*\nudp localhost:54 .* 2\.0 KiB {2}4 .*\n$/,
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
    /FAILED {2}EMPTY {2}TO GUEST .*\nudp localhost:53 .* 0 +0 +17 B .*\nudp localhost:54 .* 0 +5 +17 B/,
  );
});

t.test('what a forward cannot do stands below the table', async (t) => {
  const one = { ...forward('udp *:53', 0), limitation: 'answers may come from elsewhere' };
  t.match(formatForwards([one]), /\nudp \*:53: answers may come from elsewhere\n$/);
});
