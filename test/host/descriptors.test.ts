import t from 'tap';
import { Descriptors, descriptorLimit } from '../../host/descriptors.js';

const limit = (soft: number | string) => ({ userLimits: { open_files: { soft, hard: soft } } });

t.test('the limit is what the OS tells, or as many as launchd gives', async (t) => {
  t.equal(descriptorLimit(limit(20_000)), 20_000);
  t.equal(descriptorLimit(limit('unlimited')), Number.POSITIVE_INFINITY);
  t.equal(descriptorLimit({}), 256);
  t.ok(new Descriptors().limit > 0);
});

t.test('each kind has its share, and all of them leave a reserve', async (t) => {
  for (const limit of [100, 256, 1024, 4096, 1_048_576]) {
    const shares = new Descriptors(limit);
    const { maxControlConnections, maxListeners, maxClients, maxLeasedForwards } = shares;
    t.equal(maxControlConnections + maxClients, limit - 48, `${limit}: a reserve of 48`);
    t.ok(maxListeners < maxClients, 'clients have a part that listeners cannot take');
    t.ok(2 * maxLeasedForwards < maxListeners, 'and the user one that guests cannot take');
    shares.takeListeners(maxListeners, 'them all');
    t.ok(shares.maxClients >= Math.floor(maxClients / 3));
  }
  t.match(new Descriptors(256), {
    ...{ maxControlConnections: 32, maxListeners: 117, maxClients: 176, maxLeasedForwards: 44 },
  });
  t.ok(new Descriptors(4096).maxLeasedForwards >= 1000, 'a thousand published ports, where there are 4096');
});

t.test('the dashboard takes its share from the clients, when it is on', async (t) => {
  const shares = new Descriptors(256);
  t.equal(shares.takeDashboard(), 16);
  t.match(shares, { maxListeners: 117, maxClients: 160 });
  t.equal(new Descriptors(40).takeDashboard(), 5);
});

t.test('without a limit only what a guest may have is bounded', async (t) => {
  const shares = new Descriptors(Number.POSITIVE_INFINITY);
  t.match(shares, {
    ...{ maxControlConnections: 32, maxClients: Number.POSITIVE_INFINITY, maxLeasedForwards: 16_384 },
  });
  shares.takeListeners(1_000_000, 'a million');
  t.equal(shares.maxClients, Number.POSITIVE_INFINITY);
});

t.test('with hardly any nothing can be had', async (t) => {
  const shares = new Descriptors(40);
  t.match(shares, { maxControlConnections: 5, maxListeners: 0, maxClients: 0, maxLeasedForwards: 0 });
  t.throws(() => shares.takeListeners(1, 'localhost:80'), { message: /takes 1 more file descriptor,/ });
});

t.test('listening sockets beyond their share are refused, with the numbers and the way out', async (t) => {
  const shares = new Descriptors(256);
  shares.takeListeners(116, 'most of them');
  t.throws(() => shares.takeListeners(2, 'localhost:8080'), {
    name: 'OperationError',
    code: 'EMFILE',
    message:
      'cannot listen on localhost:8080: that takes 2 more file descriptors, and 116 of the 117 for listening ' +
      'sockets are in use (this process may have 256 in all); remove forwards, or raise the limit (ulimit -n; ' +
      'under launchd, NumberOfFiles) and restart the host',
  });
  t.equal(shares.maxClients, 60, 'what was refused has taken nothing');
  shares.giveListeners(1);
  shares.takeListeners(2, 'localhost:8080');
  t.equal(shares.maxClients, 59);
});
