import { mock } from 'node:test';
import t from 'tap';
import { DeadlineQueue } from '../../protocol/deadline-queue.js';

t.test('items that wait too long are reported in the order in which they came', async (t) => {
  const late: string[] = [];
  await new Promise<void>((resolve) => {
    const queue = new DeadlineQueue<string>(5, (item) => {
      late.push(item);
      if (late.length === 3) resolve();
    });
    for (const item of ['a', 'b', 'c']) queue.add(item);
    t.equal(queue.size, 3);
  });
  t.same(late, ['a', 'b', 'c']);
});

t.test('an item that is renewed waits anew, and one that is not there stays so', async (t) => {
  let now = 0;
  const late: [string, number][] = [];
  await new Promise<void>((resolve) => {
    const queue = new DeadlineQueue<string>(
      5,
      (item) => {
        late.push([item, now]);
        now = 2000;
        if (item === 'first') resolve();
      },
      () => now,
    );
    queue.add('first');
    queue.add('second');
    now = 1000;
    queue.renew('first');
    queue.renew('third');
    t.equal(queue.size, 2);
  });
  t.same(late, [
    ['second', 1000],
    ['first', 2000],
  ]);
});

t.test('an item that came later waits its own time', async (t) => {
  let now = 0;
  const late: [string, number][] = [];
  await new Promise<void>((resolve) => {
    const queue = new DeadlineQueue<string>(
      5,
      (item) => {
        late.push([item, queue.size]);
        // What is checked now is past for the second item only by the time of the next check.
        setImmediate(() => {
          now = 2000;
        });
        if (item === 'second') resolve();
      },
      () => now,
    );
    queue.add('first');
    now = 1000;
    queue.add('second');
  });
  t.same(late, [
    ['first', 1],
    ['second', 0],
  ]);
});

t.test('an item that has left is not reported', async (t) => {
  const late = await new Promise<string>((resolve) => {
    const queue = new DeadlineQueue<string>(5, resolve);
    queue.add('gone');
    queue.add('kept');
    queue.delete('gone');
  });
  t.equal(late, 'kept');
});

t.test('an empty queue holds no timer', async (t) => {
  const queue = new DeadlineQueue<string>(60_000, () => t.fail('nothing is late'));
  queue.add('a');
  queue.delete('a');
  queue.add('b');
  queue.add('c');
  t.same(queue.takeAll(), ['b', 'c']);
  t.equal(queue.size, 0);
  // A timer left behind would keep this process until the test run gives up.
});

t.test('a sleep is no wait: what it has run over waits anew', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  let now = 0;
  const late: string[] = [];
  const queue = new DeadlineQueue<string>(
    5_000,
    (item) => late.push(item),
    () => now,
  );
  const pass = (ms: number): void => {
    for (const end = now + ms; now < end; mock.timers.tick(100)) now += 100;
  };
  queue.add('first');
  pass(2_000);
  queue.add('second');
  // A night, in which timers stand still.
  now += 8 * 3600 * 1000;
  pass(4_000);
  t.same(late, []);
  pass(3_900);
  t.same(late, []);
  pass(200);
  t.same(late, ['first', 'second']);
});
