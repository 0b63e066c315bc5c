import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import {
  ACTIONS_A_TURN,
  LONG_TURN_MS,
  TURN_BUDGET_MS,
  TurnBudget,
} from '../../../host/control/turn-budget.js';

/** Keeps the process at work for so long (ms). */
function work(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

/** How many of `log` there were at each turn of the event loop until there are `count`. */
async function perTurn(log: readonly unknown[], count: number): Promise<number[]> {
  const seen: number[] = [];
  while (log.length < count) {
    const before = log.length;
    await nextTurn();
    seen.push(log.length - before);
  }
  return seen;
}

t.test('things are done in their order, none at once, and few in a turn', async (t) => {
  const turns = new TurnBudget();
  const done: number[] = [];
  const all = Array.from({ length: 3 * ACTIONS_A_TURN + 1 }, (_, index) => index);
  for (const index of all) turns.run(() => done.push(index));
  t.same(done, []);
  const seen = await perTurn(done, all.length);
  t.same(done, all);
  t.ok(Math.max(...seen) <= ACTIONS_A_TURN, seen.join(' '));
  turns.run(() => done.push(-1));
  await perTurn(done, all.length + 1);
  t.equal(done.at(-1), -1, 'it begins again when it has had nothing to do');
});

t.test('what takes long has turns to itself, with what comes of it in microtasks', async (t) => {
  const turns = new TurnBudget();
  const done: number[] = [];
  for (let index = 0; index < 4; index++)
    void turns.turn().then(() => {
      work(TURN_BUDGET_MS);
      done.push(index);
    });
  const seen = await perTurn(done, 4);
  t.same(done, [0, 1, 2, 3]);
  t.equal(Math.max(...seen), 1, seen.join(' '));
});

t.test('after a long turn others have as long', async (t) => {
  const turns = new TurnBudget();
  const times: number[] = [];
  for (let index = 0; index < 2; index++)
    turns.run(() => {
      times.push(performance.now());
      work(LONG_TURN_MS);
    });
  await perTurn(times, 2);
  const [first = 0, second = 0] = times;
  t.ok(second - first >= 2 * LONG_TURN_MS - 1, `${second - first} ms from the one to the other`);
});
