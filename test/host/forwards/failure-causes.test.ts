import t from 'tap';
import { FailureCauses } from '../../../host/forwards/failure-causes.js';

t.test('equal failures are counted, and the last one is told first', async (t) => {
  const failures = new FailureCauses();
  t.same(failures.report(), []);
  failures.add('SC ECONNREFUSED', 'the first', 0);
  failures.add('XD', 'lost', 1000);
  failures.add('SC ECONNREFUSED', 'the\nsecond', 2000);
  t.same(failures.report(), [
    {
      ...{ cause: 'SC ECONNREFUSED', count: 2 },
      ...{ lastMessage: 'the second', lastAt: '1970-01-01T00:00:02.000Z' },
    },
    { cause: 'XD', count: 1, lastMessage: 'lost', lastAt: '1970-01-01T00:00:01.000Z' },
  ]);
});

t.test('however many causes there are, few are told apart, and none is lost', async (t) => {
  const failures = new FailureCauses();
  for (let number = 0; number < 100; number++) failures.add(`SC E${number}`, 'x'.repeat(10_000));
  failures.add('SC E0', 'again');
  const report = failures.report();
  t.equal(report.length, 8);
  t.match(report[0], { cause: 'SC E0', count: 2, lastMessage: 'again' });
  t.match(report[1], { cause: 'others', count: 93 });
  t.ok(report.every(({ lastMessage }) => lastMessage.length <= 1000));
});
