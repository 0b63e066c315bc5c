import t from 'tap';
import { Rates, SAMPLES } from '../../../../host/dashboard/page/rates.js';

const totals = (id: string, bytesToGuest: number, bytesToHost = 0) => ({ id, bytesToGuest, bytesToHost });

t.test('rates are what was added since, by the time between', async (t) => {
  const rates = new Rates();
  rates.begin(0, [totals('a', 1000, 5000)]);
  t.same(rates.of('a'), { toGuest: 0, toHost: 0 });
  rates.sample(2000, [totals('a', 1200, 6000), totals('new', 100)]);
  t.same(rates.of('a'), { toGuest: 100, toHost: 500 });
  t.same(rates.of('new'), { toGuest: 50, toHost: 0 });
  t.same(rates.total, { toGuest: 150, toHost: 500 });
  rates.sample(3000, []);
  t.same(rates.of('a'), { toGuest: 0, toHost: 0 }, 'nothing was told of it');
  t.same(rates.total, { toGuest: 0, toHost: 0 });
  const { toGuest, toHost } = rates.history('a');
  t.equal(toGuest.length, SAMPLES);
  t.same(toGuest.slice(-3), [0, 100, 0]);
  t.same(toHost.slice(-3), [0, 500, 0]);
});

t.test('a minute is kept, and only of what moves', async (t) => {
  const rates = new Rates();
  rates.sample(0, [totals('a', 7)]);
  t.same(rates.of('a'), { toGuest: 0, toHost: 0 }, 'no time has passed');
  for (let second = 1; second <= SAMPLES + 5; second++)
    rates.sample(second * 1000, [totals('a', 7 + second)]);
  t.same(new Set(rates.history('a').toGuest), new Set([1]));
  for (let second = 1; second <= SAMPLES; second++) rates.sample((SAMPLES + 5 + second) * 1000, []);
  t.same(new Set(rates.history('a').toGuest), new Set([0]));
  t.same(rates.history('other'), rates.history('a'));
});

t.test('a restarted host, and a forward that has gone', async (t) => {
  const rates = new Rates();
  rates.begin(0, [totals('a', 1000)]);
  rates.sample(1000, [totals('a', 10)]);
  t.same(rates.of('a'), { toGuest: 0, toHost: 0 });
  rates.sample(2000, [totals('a', 30)]);
  t.same(rates.of('a'), { toGuest: 20, toHost: 0 });
  rates.forget('a');
  t.same(rates.of('a'), { toGuest: 0, toHost: 0 });
});
