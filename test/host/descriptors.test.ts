import t from 'tap';
import { maxClients, maxClientsBeside, maxLeasedForwards } from '../../host/descriptors.js';

const limit = (soft: number | string) => ({ userLimits: { open_files: { soft, hard: soft } } });

t.test('clients leave room for what else needs a descriptor', async (t) => {
  t.equal(maxClients(limit(20_000)), 19_744);
  t.equal(maxClients(limit('unlimited')), Number.POSITIVE_INFINITY);
});

t.test('where there are few descriptors, clients get half of them', async (t) => {
  t.equal(maxClients(limit(256)), 128);
  t.equal(maxClients({}), 128, 'as many as launchd gives, where the OS does not tell');
});

t.test('this process has a limit', async (t) => {
  t.ok(maxClients() > 0);
});

t.test('clients and leased forwards leave each other room', async (t) => {
  t.equal(maxLeasedForwards(1_000_000), 16_384);
  t.equal(maxLeasedForwards(Number.POSITIVE_INFINITY), 16_384);
  t.equal(maxLeasedForwards(768), 256);
  t.equal(maxClientsBeside(256, 768), 256);
  t.equal(maxClientsBeside(0, 768), 768);
  t.ok(maxLeasedForwards() > 0);
});
