import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { Turns } from '../../../host/forwards/turns.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

t.test(
  'those that have had their turn are let go of, also while there is always one that waits',
  async (t) => {
    const turns = new Turns();
    const held: WeakRef<object>[] = [];
    const ROUNDS = 1_000;
    let ended = 0;
    const go = (): void => {
      const work = { done: false };
      held.push(new WeakRef(work));
      void turns.take(async () => {
        work.done = true;
        if (held.length < ROUNDS) go();
        ended++;
      }, false);
    };
    go();
    go();
    while (ended < ROUNDS - 10) await setImmediate();
    collectGarbage();
    const left = held.filter((reference) => reference.deref()).length;
    t.ok(left < 20, `${left} of ${held.length} are still held`);
    while (ended < held.length) await setImmediate();
  },
);

t.test('in the order in which they came; what is urgent first', async (t) => {
  const turns = new Turns();
  const done: number[] = [];
  const take = (number: number, urgent = false): Promise<void> =>
    turns.take(async () => void done.push(number), urgent);
  const all = [1, 2, 3, 4, 5, 6, 7].map((number) => take(number));
  await Promise.all([...all, take(0, true)]);
  t.same(done, [1, 0, 2, 3, 4, 5, 6, 7]);
});
