import t from 'tap';
import { divideDescriptors, maxClients } from '../../host/descriptors.js';

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
  t.same(divideDescriptors(1_000_000), { maxClients: 967_232, maxLeasedForwards: 16_384 });
  t.same(divideDescriptors(768), { maxClients: 256, maxLeasedForwards: 256 });
  t.same(divideDescriptors(Number.POSITIVE_INFINITY), {
    maxClients: Number.POSITIVE_INFINITY,
    maxLeasedForwards: 16_384,
  });
  t.ok(divideDescriptors().maxClients > 0);
});
