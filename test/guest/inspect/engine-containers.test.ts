import t from 'tap';
import {
  findContainer,
  findRivals,
  findRunning,
  getJson,
  MAX_RUNNING,
  MAX_STOPPED,
  type Wanted,
} from '../../../guest/inspect/engine-containers.js';
import { engineWithWeb, fakeEngine, fakeWeb, idOf, listedWeb } from '../../fixtures/fake-machine.js';

const { signal } = new AbortController();

function find(wanted: Wanted, answers = engineWithWeb()): ReturnType<typeof findContainer> {
  return findContainer(fakeEngine(answers), wanted, signal);
}

t.test('by where it is published', async (t) => {
  t.match(await find({ kind: 'published', proto: 'tcp', port: 8080 }), {
    networkIds: ['b1'],
    report: {
      ...{ id: idOf(1), name: 'web', image: 'nginx', state: 'running', pid: 77, addresses: ['172.17.0.2'] },
      ...{ network: 'bridge', privatePort: 80, exposed: ['80/tcp'], restarts: 0 },
      published: [{ ip: '0.0.0.0', port: 8080, privatePort: 80, proto: 'tcp' }],
    },
  });
  t.equal(await find({ kind: 'published', proto: 'udp', port: 8080 }), undefined);
  t.equal(await find({ kind: 'published', proto: 'tcp', port: 8081 }), undefined);
});

t.test('by a destination: its own address, or one on which it is published', async (t) => {
  const of = async (ip: string, port: number, answers = engineWithWeb()): Promise<number | undefined> =>
    (await find({ kind: 'destination', proto: 'tcp', ip, port }, answers))?.report.privatePort;
  t.equal(await of('172.17.0.2', 3000), 3000);
  t.equal(await of('127.0.0.1', 8080), 80);
  t.equal(await of('127.0.0.1', 80), undefined);
  const local = {
    ...engineWithWeb(),
    '/containers/json?all=1': [
      listedWeb({ Ports: [null, { IP: '127.0.0.1', PrivatePort: 80, PublicPort: 8080, Type: 'tcp' }] }),
    ],
  };
  t.equal(await of('10.0.0.5', 8080, local), undefined);
});

t.test('by its name, or its id', async (t) => {
  const of = async (name: string, privatePort?: number): Promise<number | undefined> =>
    (await find({ kind: 'container', proto: 'tcp', name, privatePort }))?.report.privatePort;
  t.equal(await of('web'), 80, 'what it publishes');
  t.equal(await of('web', 22), 22);
  t.equal(await of(idOf(1).slice(0, 12)), 80);
  t.equal(await of(idOf(1).slice(0, 4)), undefined, 'too short');
  t.equal(await of('nosuch'), undefined);
});

t.test('those that have a port which another one wants', async (t) => {
  const of = (listed: unknown, port = 8080) =>
    findRivals(
      fakeEngine({ '/containers/json': listed }),
      [{ ip: '', port, privatePort: 1, proto: 'tcp' }],
      signal,
    );
  t.same(await of([listedWeb()]), [{ id: idOf(1), name: 'web', port: 8080 }]);
  t.same(await of([listedWeb({ Names: null })]), [{ id: idOf(1), name: '', port: 8080 }]);
  t.same(await of([listedWeb()], 8081), []);
  t.same(await of({}), []);
});

t.test('one that does not run, by what it would publish', async (t) => {
  const dead = fakeWeb({
    State: { Status: 'exited', Pid: 0, ExitCode: 3 },
    NetworkSettings: { Ports: {}, Networks: { bridge: { NetworkID: 'b1', IPAddress: '' } } },
  });
  const answers = {
    '/containers/json?all=1': [
      listedWeb({ State: 'exited', Ports: [] }),
      { Id: '../evil', State: 'dead' },
      {},
    ],
    [`/containers/${idOf(1)}/json`]: dead,
  };
  t.match(await find({ kind: 'published', proto: 'tcp', port: 8080 }, answers), {
    report: { state: 'exited', exitCode: 3, addresses: [], privatePort: 80, pid: undefined },
  });
  t.equal(await find({ kind: 'published', proto: 'tcp', port: 1 }, answers), undefined);
  t.equal(
    await find({ kind: 'container', proto: 'tcp', name: 'other', privatePort: undefined }, answers),
    undefined,
  );
});

t.test('what an engine leaves out, or adds', async (t) => {
  const answers = {
    '/containers/json?all=1': [{ Id: idOf(1), Names: ['/web'] }],
    [`/containers/${idOf(1)}/json`]: { State: { Health: { Status: 'healthy' } } },
  };
  t.match(await find({ kind: 'container', proto: 'tcp', name: 'web', privatePort: undefined }, answers), {
    networkIds: [],
    report: {
      name: '',
      image: '',
      state: 'unknown',
      health: 'healthy',
      exitCode: 0,
      network: '',
      exposed: [],
    },
  });
  const none = { '/containers/json?all=1': 'null' };
  t.equal(await find({ kind: 'published', proto: 'tcp', port: 1 }, none), undefined);
  const odd = fakeWeb({
    State: { Status: 'running', Pid: 5, StartedAt: 'never', Health: { Status: 'none' } },
    NetworkSettings: { Ports: { '80/tcp': null, '81': [null] }, Networks: { own: {} } },
    Name: undefined,
  });
  const report = (
    await find(
      { kind: 'container', proto: 'tcp', name: 'web', privatePort: 1 },
      { ...engineWithWeb(), [`/containers/${idOf(1)}/json`]: odd },
    )
  )?.report;
  t.match(report, {
    upSeconds: 0,
    network: 'own',
    name: '',
    published: [{ ip: '', privatePort: 81, proto: 'tcp' }],
  });
  t.equal(report?.health, undefined);
});

t.test('those that run', async (t) => {
  t.same(await findRunning(fakeEngine(engineWithWeb()), signal), [{ id: idOf(1), name: 'web', pid: 77 }]);
  t.same(await findRunning(fakeEngine({ '/containers/json': {} }), signal), []);
});

t.test('values of any kind where others were expected', async (t) => {
  const odd = [null, 7, '"x"', [[]], { toString: null, valueOf: null }];
  for (const value of odd) {
    const listed = [value, { Id: value, Names: value, State: value }, listedWeb({ Names: [value] })];
    const answers = { '/containers/json?all=1': listed, '/containers/json': listed };
    const path = `/containers/${idOf(1)}/json`;
    for (const web of [value, ...Object.keys(fakeWeb()).map((field) => fakeWeb({ [field]: value }))]) {
      const engine = fakeEngine({ ...answers, [path]: web });
      const [found] = [
        await findContainer(engine, { kind: 'published', proto: 'tcp', port: 8080 }, signal),
        await findRunning(engine, signal),
        await findRivals(engine, [{ ip: '', port: 8080, privatePort: 80, proto: 'tcp' }], signal),
      ];
      t.equal(found?.report.id, idOf(1));
    }
  }
});

t.test('of many that run, and of many that do not, some are looked at', async (t) => {
  const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => idOf(index + 1));
  const many = ids(MAX_RUNNING + 1);
  const inspected = Object.fromEntries(
    many.map((id) => [`/containers/${id}/json`, { Id: id, Name: `/${id}`, State: { Pid: 1 } }]),
  );
  const running = await findRunning(
    fakeEngine({ '/containers/json': many.map((id) => ({ Id: id })), ...inspected }),
    signal,
  );
  t.same(
    running.map(({ id }) => id),
    many.slice(0, MAX_RUNNING),
  );

  const stopped = ids(MAX_STOPPED + 1);
  const answersWith = (publishing: string) => ({
    '/containers/json?all=1': stopped.map((id) => ({ Id: id, State: 'exited' })),
    ...Object.fromEntries(
      stopped.map((id) => [
        `/containers/${id}/json`,
        id === publishing ? fakeWeb({ Id: id, State: { Status: 'exited' } }) : { Id: id, State: {} },
      ]),
    ),
  });
  const wanted = { kind: 'published', proto: 'tcp', port: 8080 } as const;
  const last = stopped.at(MAX_STOPPED - 1) as string;
  t.match(await find(wanted, answersWith(last)), { report: { state: 'exited', privatePort: 80 } });
  t.equal(await find(wanted, answersWith(stopped.at(MAX_STOPPED) as string)), undefined);
});

t.test('an answer that is too long, or none', async (t) => {
  const long = fakeEngine({ '/x': `"${'x'.repeat(33 * 1024 * 1024)}"` });
  await t.rejects(getJson(long, '/x', signal), { message: /longer than/ });
  await t.rejects(getJson(fakeEngine({ '/x': 'no' }), '/x', signal));
});
