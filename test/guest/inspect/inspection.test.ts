import t from 'tap';
import type { Wanted } from '../../../guest/inspect/engine-containers.js';
import { inspectWay } from '../../../guest/inspect/inspection.js';
import type { WayReport } from '../../../protocol/services/inspect.js';
import {
  engineWithWeb,
  FakeMachine,
  fakeEngine,
  fakeWeb,
  idOf,
  listedWeb,
  procLine,
} from '../../fixtures/fake-machine.js';

const PUBLISHED: Wanted = { kind: 'published', proto: 'tcp', port: 8080 };

function inspect(
  machine: FakeMachine,
  wanted: Wanted = PUBLISHED,
  answers: Record<string, unknown> | undefined = engineWithWeb(),
): Promise<WayReport> {
  return inspectWay(wanted, { engine: answers && fakeEngine(answers), proc: machine.proc });
}

t.test('from the port in the VM to the process in the container', async (t) => {
  const machine = new FakeMachine(t);
  machine.listen(undefined, procLine('00000000', 8080, 1), procLine('00000000', 22, 2));
  machine.listen(77, procLine('00000000', 80, 3), procLine('00000000', 443, 4));
  machine.process(60, 'docker-proxy', 1);
  machine.process(77, 'nginx', 3, 4);
  t.match(await inspect(machine), {
    machine: { hostname: String, kernel: /^\d/, clock: Number, privileged: Boolean },
    listeners: { found: [{ proto: 'tcp', ip: '0.0.0.0', port: 8080, pid: 60, command: 'docker-proxy' }] },
    container: { found: { name: 'web', networkDriver: 'bridge' } },
    candidates: [],
    link: { found: {} },
    inside: { found: [{ ip: '0.0.0.0', port: 80, pid: 77, command: 'nginx' }] },
  });
});

t.test('what listens in the container on other ports, but for the names that an engine serves', async (t) => {
  const machine = new FakeMachine(t);
  machine.listen(77, procLine('0B00007F', 41000, 5), procLine('00000000', 3000, 6));
  t.match((await inspect(machine)).inside, { found: [{ port: 3000 }] });
  t.same((await inspect(machine, { kind: 'published', proto: 'tcp', port: 9 })).inside, {
    unseen: 'no container is known that the port belongs to',
  });
});

t.test('a container that does not run has nothing inside, and no link', async (t) => {
  const answers = {
    ...engineWithWeb(),
    [`/containers/${idOf(1)}/json`]: fakeWeb({
      State: { Status: 'created', Pid: 0, ExitCode: 1, Error: 'port is already allocated' },
    }),
    '/containers/json': [listedWeb({ Id: idOf(2), Names: ['/old'] })],
  };
  const { inside, link, rivals, container } = await inspect(new FakeMachine(t), PUBLISHED, answers);
  t.same(rivals, [{ id: idOf(2), name: 'old', port: 8080 }], 'and another one has its port');
  t.match(container, { found: { error: 'port is already allocated' } });
  const { '/containers/json': _, ...silent } = answers;
  t.same((await inspect(new FakeMachine(t), PUBLISHED, silent)).rivals, []);
  t.same(inside, { unseen: 'the container does not run: it is created' });
  t.same(link, inside);
});

t.test('a container without a network of its own', async (t) => {
  for (const networks of [{}, { host: { NetworkID: 'x/../y' } }, { host: { NetworkID: 'b2' } }]) {
    const answers = {
      ...engineWithWeb(),
      [`/containers/${idOf(1)}/json`]: fakeWeb({
        HostConfig: { NetworkMode: 'host', PortBindings: {} },
        NetworkSettings: { Ports: {}, Networks: networks },
      }),
    };
    const wanted = { kind: 'container', proto: 'tcp', name: 'web', privatePort: 80 } as const;
    const { link, container, listeners } = await inspect(new FakeMachine(t), wanted, answers);
    t.same(link, { unseen: 'its network host has no link in the guest' });
    t.match(container, { found: { networkDriver: 'unknown' } });
    t.same(listeners, { found: [] });
  }
});

t.test('a container in which something listens on a port that nobody publishes', async (t) => {
  const machine = new FakeMachine(t);
  machine.listen(77, procLine('00000000', 9000, 5));
  const wanted = { kind: 'published', proto: 'tcp', port: 9000 } as const;
  t.same((await inspect(machine, wanted)).candidates, [{ id: idOf(1), name: 'web' }]);
  t.same((await inspect(machine, { ...wanted, port: 9001 })).candidates, []);
  t.same((await inspect(new FakeMachine(t), wanted)).candidates, [], 'whose network cannot be read');
  const { '/containers/json': _, ...answers } = engineWithWeb();
  t.same((await inspect(machine, wanted, answers)).candidates, []);
});

t.test('a container that is published on one address', async (t) => {
  const machine = new FakeMachine(t);
  machine.listen(undefined, procLine('0100007F', 8080, 1));
  const answers = {
    ...engineWithWeb(),
    [`/containers/${idOf(1)}/json`]: fakeWeb({
      NetworkSettings: { Ports: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }] } },
    }),
  };
  t.match((await inspect(machine, PUBLISHED, answers)).listeners, {
    found: [{ ip: '127.0.0.1', port: 8080 }],
  });
});

t.test('a destination of the VM itself', async (t) => {
  const machine = new FakeMachine(t);
  machine.listen(undefined, procLine('0100007F', 7777, 9));
  const wanted = { kind: 'destination', proto: 'tcp', ip: '127.0.0.1', port: 7777 } as const;
  const way = await inspect(machine, wanted, { '/containers/json?all=1': [] });
  t.match(way, { listeners: { found: [{ port: 7777 }] }, container: { found: null } });
  const addressed = { ...engineWithWeb(), '/containers/json?all=1': [listedWeb({ Ports: undefined })] };
  t.match(await inspect(machine, { ...wanted, ip: '172.17.0.2', port: 80 }, addressed), {
    container: { found: { name: 'web' } },
  });
});

t.test('what cannot be seen says why', async (t) => {
  const machine = new FakeMachine(t);
  const wanted = { kind: 'destination', proto: 'udp', ip: '127.0.0.1', port: 53 } as const;
  t.match(await inspect(machine, wanted, {}), {
    listeners: { unseen: /ENOENT/ },
    container: { unseen: /the engine has no/ },
  });
  const { container } = await inspectWay(PUBLISHED, { engine: undefined });
  t.match(container, { unseen: /knows of no Docker engine/ });
  const denied = {
    get: async () => {
      throw Object.assign(new Error('no'), { code: 'EACCES' });
    },
  };
  t.same((await inspectWay(PUBLISHED, { engine: denied, proc: machine.proc })).container, {
    unseen: 'the agent lacks the privileges to look there',
  });
});
