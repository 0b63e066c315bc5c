import t from 'tap';
import { MemoryBudget } from '../../../host/control/memory-budget.js';

t.test('what is set aside comes back when the last that needs it has let go', (t) => {
  const budget = new MemoryBudget(100);
  const one = budget.reserve(60);
  t.equal(budget.reserve(41), undefined);
  t.equal(one?.grow(41), false);
  t.equal(one?.grow(40), true);
  t.equal(budget.reserve(1), undefined);
  one?.hold();
  one?.letGo();
  t.equal(budget.reserve(1), undefined);
  one?.letGo();
  t.ok(budget.reserve(100));
  t.end();
});
