import t from 'tap';
import { Rates } from '../../../host/records/rates.js';
import { fakeForward } from '../../fixtures/fake-forward.js';

t.test('what a forward carries is known from two looks', async (t) => {
  const rates = new Rates();
  const forward = fakeForward();
  t.equal(rates.of(forward, 0), undefined, 'nobody has used it');
  forward.counters.connections = 1;
  t.equal(rates.of(forward, 1000), undefined, 'the first look');
  Object.assign(forward.counters, { bytesToGuest: 100, bytesToHost: 3000 });
  t.same(rates.of(forward, 2000), { toGuest: 100, toHost: 3000 });
  forward.counters.bytesToGuest = 5000;
  t.same(rates.of(forward, 2100), { toGuest: 100, toHost: 3000 }, 'too soon to say anything else');
  t.same(rates.of(forward, 2500), { toGuest: 9800, toHost: 0 });
  t.equal(rates.of(forward, 60_000), undefined, 'the last look was too long ago');
  t.same(rates.of(forward, 61_000), { toGuest: 0, toHost: 0 });
});
