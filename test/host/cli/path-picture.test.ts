import t from 'tap';
import { drawPath } from '../../../host/cli/path-picture.js';
import type { ListenerReport } from '../../../protocol/services/inspect.js';
import { fakeStatus } from '../../fixtures/control-reports.js';
import { HOST_PID, makeContainer, makeForward, makePath, makeWay } from '../diagnose/fixtures/make-path.js';

const BACKEND: ListenerReport = { proto: 'tcp', ip: '::', port: 8080, pid: 5, command: 'com.docker.backend' };

t.test('a container that the guest dials itself', async (t) => {
  t.equal(
    drawPath(makePath()),
    `    client, to tcp 8080
    │
┌───▼ this host
│   ● host       portferry (pid ${HOST_PID}) listens on 0.0.0.0:8080
│   ● forward    tcp *:8080 → tcp 172.17.0.2:80, for container web (1a2b3c4d5e6f)
└───┬
    ● channel    unix:/c.sock: portferry-guest 1.2.3, 2 streams
    │
┌───▼ the machine of the guest: vm (Linux 6.1.0)
│   ○ guest      docker-proxy (pid 60) listens on 0.0.0.0:8080
│   ○ DNAT       → 172.17.0.2:80 (iptables-nft, chain DOCKER, 3 packets)
│   ● network    network bridge, bridge docker0, veth veth1
│ ┌─▼ container web (1a2b3c4d5e6f), image nginx, running, healthy, 172.17.0.2, port 80
│ │ ● server     nginx (pid 77) listens on 0.0.0.0:80
│ └──
└────
○ beside the way
`,
  );
});

t.test("by the published port, and by Docker's own forwarder", async (t) => {
  const published = makePath({ forwards: [makeForward({ in_ip: '127.0.0.1' })] });
  t.match(drawPath(published), /● guest .*\n.*● DNAT /);
  t.notMatch(drawPath(published), '○');
  const { in_ip: _, ...toPath } = makeForward();
  t.notMatch(drawPath(makePath({ forwards: [toPath] })), '○');
  const docker = makePath({
    forwards: [makeForward({ state: 'failed', error: 'in use' })],
    listeners: { found: [BACKEND] },
  });
  t.match(
    drawPath(docker),
    /● host .*com\.docker\.backend[\s\S]*○ forward [\s\S]*┊ com\.docker\.backend \(pid 5\) carries it there\n {4}○ channel [\s\S]*● guest /,
  );
});

t.test('what is not there, and what cannot be seen', async (t) => {
  const stopped = makeWay({
    container: { found: makeContainer({ state: 'exited', exitCode: 1, addresses: [] }) },
    inside: { unseen: 'the container does not run' },
    drops: { found: [{ by: 'nft', chain: 'c', rule: 'drop', packets: 2 }] },
  });
  const picture = drawPath(makePath({ forwards: [], listeners: { found: [] }, guest: { found: stopped } }));
  t.match(
    picture,
    /✗ host .*nothing listens[\s\S]*● firewall [\s\S]*┌─✗ container web[\s\S]*│ │ \? server [\s\S]*\n\? cannot be seen {3}✗ not there\n$/,
  );
  const empty = makeWay({ container: { found: null }, listeners: { found: [] } });
  t.match(
    drawPath(makePath({ forwards: [], guest: { found: empty } })),
    /✗ guest .*nothing listens there\n└────/,
  );
  const blind = makeWay({ container: { unseen: 'no engine' } });
  t.match(drawPath(makePath({ guest: { found: blind } })), /│ {3}\? container {2}no engine\n└────/);
  const channel = fakeStatus({ state: 'waiting' }).channel;
  const { listeners: _, ...cut } = makePath({
    channel,
    guest: { unseen: 'no channel' },
    forwards: [makeForward({ state: 'failed' })],
  });
  t.match(
    drawPath(cut),
    /this host\n│ {3}✗ forward [\s\S]*✗ channel [\s\S]*▼ the machine of the guest\n│ {3}\? guest {6}no channel\n/,
  );
});

t.test('nothing listens inside the container', async (t) => {
  t.match(drawPath(makePath({ guest: { found: makeWay({ inside: { found: [] } }) } })), /│ │ ✗ server /);
});
