import t from 'tap';
import { Fifo } from '../../host/fifo.js';
import { randomFrom } from '../protocol/fixtures/memory-link.js';

t.test('what came first goes first, whatever comes and goes between', async (t) => {
  const fifo = new Fifo<number>();
  const random = randomFrom(1);
  const taken: (number | undefined)[] = [];
  let pushed = 0;
  for (let step = 0; step < 10_000; step++) {
    if (random() < 0.6) fifo.push(pushed++);
    else if (fifo.length > 0) taken.push(fifo.shift());
  }
  t.ok(fifo.length > 1_000);
  while (fifo.length > 0) taken.push(fifo.shift());
  t.same(taken, [...taken.keys()]);
  t.equal(taken.length, pushed);
  t.equal(fifo.shift(), undefined);
});
