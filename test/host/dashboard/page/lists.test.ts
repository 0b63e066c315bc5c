import t from 'tap';
import {
  type ConnectionFilter,
  ConnectionList,
  isFailure,
} from '../../../../host/dashboard/page/connection-list.js';
import { ForwardList, ownerOf, questionOf } from '../../../../host/dashboard/page/forward-list.js';
import { noCounts } from '../../../../host/forwards/forward.js';
import { type ConnectionReport, reportForward } from '../../../../host/records/reports.js';
import { fakeConnection } from '../../../fixtures/control-reports.js';
import { fakeForward } from '../../../fixtures/fake-forward.js';

const SECOND = 1000;

function open(id: number, second = id): ConnectionReport {
  const { ending: _, ...report } = fakeConnection();
  return { ...report, id, openedAt: new Date(second * SECOND).toISOString() };
}

function ended(id: number, termination = '--', second = id): ConnectionReport {
  const ending = { termination, by: 'server', phase: 'data', how: 'RST', message: 'it ended' };
  return { ...open(id, second), ageMs: 10, ending };
}

const ALL: ConnectionFilter = { forward: undefined, failuresOnly: false };
const ids = (list: ConnectionList, filter = ALL, most = 10) =>
  list.newest(filter, most).shown.map(({ report }) => report.id);

t.test('the last news come first', async (t) => {
  const list = new ConnectionList();
  // As a host answers: open ones as they came, then those that ended, the last first.
  list.reset([open(1), open(4), ended(3, 'SC'), ended(2)]);
  t.same(ids(list), [4, 3, 2, 1]);
  t.equal(list.openCount, 2);
  list.end(ended(1), 9 * SECOND);
  list.open(open(5));
  t.same(ids(list), [1, 5, 4, 3, 2]);
  const together = new ConnectionList();
  together.reset([open(6, 1), open(7, 1)]);
  t.same(ids(together), [7, 6], 'of the same moment the one that came later');
  t.same(list.newest(ALL, 2), { shown: list.newest(ALL, 10).shown.slice(0, 2), of: 5 });
  t.same(ids(list, { ...ALL, failuresOnly: true }), [3]);
  t.equal(list.lastFailure?.id, 3);
  t.same(ids(list, { ...ALL, forward: 'tcp localhost:8080' }), [1, 5, 4, 3, 2]);
  t.same(ids(list, { ...ALL, forward: 'another' }), []);
});

t.test('events that tell what the host has answered already change nothing', async (t) => {
  const list = new ConnectionList();
  list.reset([ended(1)]);
  list.open(open(1));
  list.end(ended(1), 5 * SECOND);
  t.same(ids(list), [1]);
  t.equal(list.openCount, 0);
});

t.test('what is kept is bounded, and failures longest', async (t) => {
  const list = new ConnectionList();
  for (let id = 0; id < 20_000; id++) list.open(open(id));
  t.equal(list.openCount, 5_000);
  for (let id = 0; id < 10_000; id++) list.end(ended(id, id % 2 ? '--' : 'SD'), id);
  const failed = list.newest({ ...ALL, failuresOnly: true }, 1).of;
  t.ok(failed >= 1_500 && failed <= 3_000, `${failed}`);
  const fine = list.newest(ALL, 1).of - failed;
  t.ok(fine >= 500 && fine <= 1_000, `${fine}`);
});

t.test('which ends are failures', async (t) => {
  t.equal(isFailure(open(1)), false);
  t.equal(isFailure(ended(1)), false);
  t.equal(isFailure(ended(1, 'SE')), true);
});

t.test('forwards come, count, fail and go', async (t) => {
  const list = new ForwardList();
  const [one, two] = [reportForward(fakeForward('81:80')), reportForward(fakeForward('82:80'))];
  list.reset([one]);
  list.apply({ change: 'added', forward: two });
  t.equal(list.size, 2);
  list.count({ ...noCounts(), id: two.id, connections: 3 });
  list.count({ ...noCounts(), id: 'unknown' });
  t.match(list.get(two.id), { counters: { connections: 3, dropped: 0 } });
  t.same(list.find('', 5), { shown: [one, list.get(two.id)], of: 2 });
  t.same(list.find(' :82', 5).of, 1);
  list.apply({ change: 'failed', forward: { ...one, state: 'failed', error: 'taken' } });
  t.match(list.find('FAILED', 5).shown, [{ id: one.id, error: 'taken' }]);
  list.apply({ change: 'removed', forward: one });
  t.equal(list.get(one.id), undefined);
});

t.test('of very many the first are those that somebody looks for', async (t) => {
  const list = new ForwardList();
  const [idle, used, busy, failed] = ['1:1', '2:1', '3:1', '4:1'].map((spec) =>
    reportForward(fakeForward(spec)),
  );
  if (!idle || !used || !busy || !failed) throw new Error('there are four');
  used.counters.connections = 1;
  busy.counters.active = 1;
  failed.state = 'failed';
  list.reset([idle, used, busy, failed]);
  t.same(
    list.find('', 3).shown.map(({ id }) => id),
    [failed.id, busy.id, used.id],
  );
  t.equal(list.find('', 3).of, 4);
});

t.test('who wants a forward, and how its way is asked for', async (t) => {
  const forward = reportForward(fakeForward());
  t.equal(ownerOf(forward), 'static');
  t.equal(
    ownerOf({ ...forward, publisher: 'docker', annotation: 'container web (1)' }),
    'docker: container web (1)',
  );
  t.equal(questionOf(forward), '8080');
  t.equal(questionOf(reportForward(fakeForward('53:53/udp'))), '53/udp');
  t.equal(questionOf(reportForward(fakeForward('unix:/a:/b'))), 'unix:/a');
  t.equal(questionOf({ ...forward, out_port: undefined as never }), undefined);
});
