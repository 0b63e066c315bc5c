import t from 'tap';
import { remarksOn, remarksOnSurroundings } from '../../../host/diagnose/remarks.js';
import { fakeStatus } from '../../fixtures/control-reports.js';
import { makePath, makeWay } from './fixtures/make-path.js';

const FACTS = { version: '1.2.3', clients: 1, maxClients: 100 };

t.test('nothing to be said', async (t) => {
  t.same(remarksOn(makePath(), FACTS), []);
  t.same(remarksOn(makePath({ guest: { unseen: 'x' } }), FACTS), []);
  t.same(remarksOnSurroundings({}, ['127.0.0.1', '::1']), []);
  t.same(remarksOnSurroundings({}, []), [], 'it could not be resolved');
});

t.test('versions, descriptors and clocks', async (t) => {
  t.match(remarksOn(makePath(), { ...FACTS, version: '1.3.0' }), [
    /portferry-guest 1\.2\.3, and this host 1\.3\.0/,
  ]);
  const plain = fakeStatus({ peer: { version: null, features: [] } }).channel;
  t.same(remarksOn(makePath({ channel: plain }), { ...FACTS, version: '2' }), []);
  t.match(remarksOn(makePath(), { ...FACTS, clients: 90 }), [/^90 clients are served/]);
  const { machine } = makeWay();
  const at = (clock: number) => makePath({ guest: { found: makeWay({ machine: { ...machine, clock } }) } });
  t.match(remarksOn(at(1_000_000), FACTS, 1_100_000), [/is 100 s behind this host's/]);
  t.match(remarksOn(at(1_100_000), FACTS, 1_000_000), [/is 100 s ahead of this host's/]);
});

t.test('proxies, and what localhost is', async (t) => {
  t.match(remarksOnSurroundings({ HTTP_PROXY: 'http://p' }, ['127.0.0.1']), [/^HTTP_PROXY is set/]);
  for (const exceptions of ['localhost', 'a,127.0.0.1', '*'])
    t.same(remarksOnSurroundings({ http_proxy: 'http://p', no_proxy: exceptions }, ['127.0.0.1']), []);
  t.match(remarksOnSurroundings({}, ['::1']), [/^localhost is ::1 here/]);
});
