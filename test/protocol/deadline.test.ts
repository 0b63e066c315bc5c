import { mock } from 'node:test';
import t from 'tap';
import { Deadline, OVERSLEPT_MS } from '../../protocol/deadline.js';

const LIMIT_MS = 5_000;
const HOURS_MS = 8 * 3600 * 1000;

/** What is to run when all events have been seen. */
const immediates = new Set<() => void>();

t.beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout'] });
  mock.method(globalThis, 'setImmediate', (run: () => void) => {
    immediates.add(run);
    return run;
  });
  mock.method(globalThis, 'clearImmediate', (run: () => void) => void immediates.delete(run));
});
t.afterEach(() => {
  immediates.clear();
  mock.timers.reset();
  mock.restoreAll();
});

function setup() {
  let now = 1000;
  const deadline = new Deadline(LIMIT_MS, () => now);
  t.teardown(() => deadline.end());
  /** Lets time pass in which this process runs. */
  const pass = (ms: number): void => {
    for (const end = now + ms; now < end; ) {
      const step = Math.min(100, end - now);
      now += step;
      mock.timers.tick(step);
    }
  };
  /** Lets time pass in which no timer fires. */
  const sleep = (ms: number): void => {
    now += ms;
  };
  const endTurn = (): void => {
    for (const run of [...immediates]) {
      immediates.delete(run);
      run();
    }
  };
  return { deadline, pass, sleep, endTurn };
}

t.test('the time is over when it is over, and not before what has come meanwhile is read', async (t) => {
  const { deadline, pass, endTurn } = setup();
  pass(LIMIT_MS - 100);
  endTurn();
  t.equal(deadline.over, false);
  pass(100);
  t.equal(deadline.over, false);
  endTurn();
  t.equal(deadline.over, true);
  t.equal(deadline.signal.aborted, true);
});

for (const sleptAfterMs of [0, 500, LIMIT_MS - 100])
  t.test(
    `whoever is waited for has the whole time again after a sleep, begun after ${sleptAfterMs} ms`,
    async (t) => {
      const { deadline, pass, sleep, endTurn } = setup();
      pass(sleptAfterMs);
      sleep(HOURS_MS);
      // Up to a second until the next look.
      pass(LIMIT_MS - 100);
      endTurn();
      t.equal(deadline.over, false);
      pass(1_100);
      endTurn();
      t.equal(deadline.over, true);
    },
  );

t.test('a machine that is a little late makes nobody wait longer', async (t) => {
  const { deadline, pass, sleep, endTurn } = setup();
  sleep(OVERSLEPT_MS);
  pass(LIMIT_MS - OVERSLEPT_MS);
  endTurn();
  t.equal(deadline.over, true);
});

t.test('what has come just when the time was over is in time', async (t) => {
  const { deadline, pass, endTurn } = setup();
  pass(LIMIT_MS);
  deadline.end();
  endTurn();
  t.equal(deadline.over, false);
  pass(LIMIT_MS);
  endTurn();
  t.equal(deadline.over, false, 'nobody waits any more');
});
