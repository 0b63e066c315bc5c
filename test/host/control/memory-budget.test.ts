import t from 'tap';
import { MemoryBudget } from '../../../host/control/memory-budget.js';

t.test('what is set aside comes back when the last that needs it has let go', (t) => {
  const budget = new MemoryBudget(100);
  const one = budget.reserve();
  const other = budget.reserve();
  t.ok(one.grow(60));
  t.notOk(other.grow(41));
  t.notOk(one.grow(41));
  t.ok(one.grow(40));
  t.notOk(other.grow(1));
  one.hold();
  one.letGo();
  t.notOk(other.grow(1));
  one.letGo();
  t.ok(one.grow(1_000), 'nobody holds it: it takes nothing');
  t.ok(other.grow(100));
  t.end();
});
