import { chmodSync } from 'node:fs';
import t, { type Test } from 'tap';
import { findLink, readNetwork } from '../../../guest/inspect/container-link.js';
import { FakeMachine } from '../../fixtures/fake-machine.js';

const ANSWER = { Id: '62cbfa9c328c3524', Driver: 'bridge', Options: {} };
const BRIDGE = readNetwork(ANSWER);

/** A machine with docker0, a bridge of an own network, and a veth pair of process 77. */
function makeMachine(t: Test): FakeMachine {
  const machine = new FakeMachine(t);
  for (const [name, index, state] of [
    ['lo', 1, 'unknown'],
    ['docker0', 2, 'up'],
    ['br-62cbfa9c328c', 3, 'down'],
    ['veth1', 5, 'up'],
  ] as const) {
    machine.write(`sys/class/net/${name}/ifindex`, `${index}\n`);
    machine.write(`sys/class/net/${name}/operstate`, `${state}\n`);
  }
  machine.write('proc/77/root/sys/class/net/lo/iflink', '1\n');
  machine.write('proc/77/root/sys/class/net/eth0/iflink', '5\n');
  return machine;
}

t.test('by the file system, where there is no ip', async (t) => {
  const { proc, sys } = makeMachine(t);
  t.same(await findLink(BRIDGE, 77, { proc, sys, ip: 'no-such-ip' }), {
    found: { bridge: 'br-62cbfa9c328c', up: false, veth: 'veth1' },
  });
  const named = readNetwork({ ...ANSWER, Options: { 'com.docker.network.bridge.name': 'docker0' } });
  t.same(await findLink(named, 78, { proc, sys, ip: 'no-such-ip' }), {
    found: { bridge: 'docker0', up: true },
  });
  t.same(await findLink(readNetwork({ Driver: 'bridge', Id: 'ff' }), 78, { proc, sys, ip: 'no-such-ip' }), {
    found: {},
  });
});

t.test('an end that is not here', async (t) => {
  const machine = makeMachine(t);
  machine.write('proc/77/root/sys/class/net/eth0/iflink', '99\n');
  machine.write('proc/77/root/sys/class/net/eth1/mtu', '1500\n');
  const { proc, sys } = machine;
  t.same(await findLink(BRIDGE, 77, { proc, sys, ip: 'no-such-ip' }), {
    found: { bridge: 'br-62cbfa9c328c', up: false },
  });
});

t.test('networks of other drivers, and machines that show nothing', async (t) => {
  t.match(await findLink(readNetwork({ Driver: 'macvlan' }), 77), { unseen: /driver is macvlan/ });
  t.match(await findLink(BRIDGE, 77, { sys: '/nonexistent', ip: 'no-such-ip' }), {
    unseen: /cannot be read/,
  });
});

t.test('by ip', async (t) => {
  const machine = makeMachine(t);
  const script = `${machine.sys}/ip`;
  machine.write(
    'sys/ip',
    `#!/bin/sh\necho '[{"ifname":"docker0","ifindex":2,"flags":["UP"]},{"ifname":"veth9","ifindex":5}]'\n`,
  );
  chmodSync(script, 0o755);
  const named = readNetwork({ ...ANSWER, Options: { 'com.docker.network.bridge.name': 'docker0' } });
  t.same(await findLink(named, 77, { proc: machine.proc, ip: script }), {
    found: { bridge: 'docker0', up: true, veth: 'veth9' },
  });
});
