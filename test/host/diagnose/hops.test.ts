import t from 'tap';
import { hopsOf } from '../../../host/diagnose/hops.js';
import { fakeStatus } from '../../fixtures/control-reports.js';
import { HOST_PID, makeContainer, makeForward, makePath, makeWay } from './fixtures/make-path.js';

function texts(path: Parameters<typeof hopsOf>[0]): string[] {
  return hopsOf(path).map(({ name, text, seen }) => `${seen ? '' : '? '}${name}: ${text}`);
}

t.test('every hop of a way on which all is well', async (t) => {
  t.same(texts(makePath()), [
    `host: portferry (pid ${HOST_PID}) listens on 0.0.0.0:8080`,
    'forward: tcp *:8080 → tcp 172.17.0.2:80, for container web (1a2b3c4d5e6f)',
    'channel: unix:/c.sock: portferry-guest 1.2.3, 2 streams',
    'guest: vm (Linux 6.1.0): docker-proxy (pid 60) listens on 0.0.0.0:8080',
    'container: container web (1a2b3c4d5e6f), image nginx, running, healthy, 172.17.0.2, port 80',
    'DNAT: → 172.17.0.2:80 (iptables-nft, chain DOCKER, 3 packets)',
    'network: network bridge, bridge docker0, veth veth1',
    'server: nginx (pid 77) listens on 0.0.0.0:80',
  ]);
});

t.test('what is not there is left out, and what cannot be seen is not', async (t) => {
  const way = makeWay({
    container: { found: null },
    listeners: { found: [] },
    dnat: { found: [] },
    inside: { unseen: 'x' },
  });
  const path = makePath({ guest: { found: way }, forwards: [] });
  const { listeners: _, ...rest } = path;
  t.same(texts(rest), [
    'channel: unix:/c.sock: portferry-guest 1.2.3, 2 streams',
    'guest: vm (Linux 6.1.0): nothing listens there',
  ]);
  const blind = makeWay({ container: { unseen: 'no engine' }, drops: { unseen: 'not root' } });
  t.same(texts(makePath({ guest: { found: blind }, forwards: [] })).slice(2), [
    'guest: vm (Linux 6.1.0): docker-proxy (pid 60) listens on 0.0.0.0:8080',
    '? firewall: not root',
    '? container: no engine',
  ]);
});

t.test('others on the host, a forward that failed, a channel that is not there', async (t) => {
  const channel = fakeStatus({ state: 'waiting', lastError: 'gone' }).channel;
  const listeners = {
    found: [
      { proto: 'tcp', ip: '127.0.0.1', port: 8080, pid: 5, command: 'nginx' },
      { proto: 'tcp', ip: '::1', port: 8080, pid: 5, command: 'nginx' },
      { proto: 'tcp', ip: '0.0.0.0', port: 8080 },
    ],
  } as const;
  const { annotation: _, publisher: __, ...own } = makeForward({ state: 'failed', error: 'in use' });
  const path = makePath({ channel, forwards: [own], guest: { unseen: 'no channel' } });
  t.same(texts({ ...path, listeners: { found: [...listeners.found] } }), [
    'host: nginx (pid 5) listens on 127.0.0.1:8080, [::1]:8080; a process that cannot be seen listens on 0.0.0.0:8080',
    'forward: tcp *:8080 → tcp 172.17.0.2:80, failed: in use',
    'channel: unix:/c.sock: there is none since 2026-01-01T00:00:00.000Z (gone)',
    '? guest: no channel',
  ]);
  const { error: _e, ...refused } = makeForward({ state: 'refused' });
  const waiting = fakeStatus({ state: 'waiting' }).channel;
  t.match(texts(makePath({ forwards: [refused], channel: waiting, listeners: { found: [] } })), [
    'host: nothing listens on this port',
    /, refused$/,
    /there is none since \S+$/,
  ]);
});

t.test('a plain guest, a firewall, a container that has ended, links that are down', async (t) => {
  const way = makeWay({
    drops: { found: [{ by: 'nft', chain: 'out', rule: 'drop', packets: 2 }] },
    container: { found: makeContainer({ state: 'exited', exitCode: 3, addresses: [] }) },
    dnat: { found: [{ by: 'nft', chain: 'c', rule: 'r', to: '1.2.3.4:5' }] },
    link: { found: { bridge: 'docker0', up: false } },
  });
  const { health: _, privatePort: __, ...bare } = makeContainer({ state: 'created' });
  const channel = fakeStatus({
    peer: { version: null, features: [] },
    roundTripMs: 1.234,
    streams: 1,
  }).channel;
  t.same(texts(makePath({ channel, guest: { found: way } })).slice(2, 7), [
    'channel: unix:/c.sock: a plain guest, such as vpnkit-forwarder, round trip 1.23 ms, 1 stream',
    'guest: vm (Linux 6.1.0): docker-proxy (pid 60) listens on 0.0.0.0:8080',
    'firewall: nft out: drop (2 packets)',
    'container: container web (1a2b3c4d5e6f), image nginx, exited with exit code 3, healthy, port 80',
    'DNAT: → 1.2.3.4:5 (nft, chain c, ? packets)',
  ]);
  const lost = makeWay({ container: { found: bare }, link: { found: {} } });
  t.match(texts(makePath({ guest: { found: lost } })).slice(4), [
    'container: container web (1a2b3c4d5e6f), image nginx, created, 172.17.0.2',
    String,
    'network: network bridge, no bridge, no veth',
  ]);
});
