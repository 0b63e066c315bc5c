import t from 'tap';
import type { HostFacts } from '../../../host/diagnose/evidence.js';
import { remarksOn, remarksOnProxy } from '../../../host/diagnose/remarks.js';
import { fakeStatus } from '../../fixtures/control-reports.js';
import { makePath, makeWay } from './fixtures/make-path.js';

const FACTS = { version: '1.2.3', platform: 'linux' as const, clients: 1, maxClients: 100 };

t.test('nothing to be said', async (t) => {
  t.same(remarksOn(makePath(), FACTS), []);
  t.same(remarksOn(makePath({ guest: { unseen: 'x' } }), FACTS), []);
  t.same(remarksOnProxy({}), []);
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

t.test('a state file that is not written, or was not read in whole', async (t) => {
  const on = (stateFile: HostFacts['stateFile']) =>
    remarksOn(makePath(), { ...FACTS, ...(stateFile && { stateFile }) });
  t.same(on({ path: '/s' }), []);
  t.match(on({ path: '/s', problem: 'the disk is full' }), [/will not outlast a restart: the disk is full$/]);
  t.match(on({ path: '/s', aside: { path: '/s.corrupt', reason: 'it is empty' } }), [
    /the state file \/s \(it is empty\): that is kept as \/s\.corrupt, and forwards which are missing must/,
  ]);
});

t.test('proxies', async (t) => {
  t.match(remarksOnProxy({ HTTP_PROXY: 'http://user:secret@p' }), [
    /^HTTP_PROXY is set here, and NO_PROXY does not name localhost and 127\.0\.0\.1: [^@]*$/,
  ]);
  t.match(remarksOnProxy({ all_proxy: 'p', NO_PROXY: 'a 127.0.0.1' }), [/does not name localhost: /]);
  for (const exceptions of ['localhost,127.0.0.1', 'a, 127.0.0.1 ,localhost', '*'])
    t.same(remarksOnProxy({ http_proxy: 'http://p', no_proxy: exceptions }), [], exceptions);
});

t.test('another forwarder', async (t) => {
  const holder = { proto: 'tcp', ip: '127.0.0.1', port: 8080, pid: 5, command: 'com.docker.backe' } as const;
  const path = makePath({ forwards: [], listeners: { found: [holder] } });
  t.match(remarksOn(path, FACTS), [/^com\.docker\.backe \(pid 5\) forwards this port, and not portferry/]);
});
