import { existsSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DEFAULT_IMAGE, Engine, type EngineOptions } from '../../../../host/up/engine/engine.js';
import { planPath, readPlan } from '../../../../host/up/engine/engine-plan.js';
import { FakeDocker } from '../../../fixtures/fake-docker.js';
import { temporaryFolder } from '../../../fixtures/programs.js';

interface Made {
  engine: Engine;
  fake: FakeDocker;
  folder: string;
  said: string[];
}

function makeEngine(t: Test, changes: Partial<EngineOptions> = {}): Made {
  const [fake, folder] = [new FakeDocker(t), temporaryFolder(t)];
  const bundle = join(folder, 'guest.mjs');
  writeFileSync(bundle, '');
  const said: string[] = [];
  const engine = new Engine({
    docker: fake.call,
    context: '',
    image: DEFAULT_IMAGE,
    socket: undefined,
    bundle,
    guestArgs: [],
    say: (line) => said.push(line),
    stop: new AbortController().signal,
    ...changes,
  });
  return { engine, fake, folder, said };
}

const info = (facts: object): { stdout: string } => ({ stdout: JSON.stringify(facts) });

t.test('a container is made ready in an engine somewhere else', async (t) => {
  const { engine, fake, folder, said } = makeEngine(t, { context: 'far' });
  await engine.check();
  t.notOk(engine.isHere);
  await engine.prepare(folder);
  t.equal(fake.containers.length, 1);
  t.same(said, []);
  t.match(readPlan(planPath(folder)), {
    docker: [...fake.call, '--context', 'far'],
    image: DEFAULT_IMAGE,
    engineSocket: '/var/run/docker.sock',
    folder,
  });
  t.ok(fake.calls.every((call) => call.startsWith('--context far ')));
  await engine.remove(folder);
  t.same(fake.containers, []);
});

t.test('an engine on this machine, whose socket docker knows', async (t) => {
  const { engine, fake, folder } = makeEngine(t);
  t.notOk(engine.isHere, 'not known yet');
  fake.answer({ info: info({ Name: hostname(), OSType: 'linux', SecurityOptions: ['name=seccomp'] }) });
  await engine.check();
  t.ok(engine.isHere);
  await engine.prepare(folder);
  t.equal(readPlan(planPath(folder)).engineSocket, '/engine.sock');

  const remote = makeEngine(t, { context: 'c' });
  const name = hostname();
  remote.fake.answer({
    info: info({ Name: name, OSType: 'linux', SecurityOptions: ['name=rootless'] }),
    context: { stdout: 'ssh://somebody@example\n' },
  });
  await remote.engine.check();
  t.notOk(remote.engine.isHere, 'a rootless one has a network of its own');
  await remote.engine.prepare(remote.folder);
  t.equal(readPlan(planPath(remote.folder)).engineSocket, '/var/run/docker.sock');
  t.ok(remote.fake.calls.some((call) => /^--context c context inspect .* c$/.test(call)));
});

t.test('podman, and a socket that is named', async (t) => {
  const { engine, fake, folder } = makeEngine(t, { socket: '/run/user/501/docker.sock' });
  fake.answer({ info: info({ host: { hostname: hostname(), os: 'linux', security: { rootless: false } } }) });
  await engine.check();
  t.ok(engine.isHere);
  await engine.prepare(folder);
  t.equal(readPlan(planPath(folder)).engineSocket, '/run/user/501/docker.sock');
  fake.answer({ info: info({}) });
  await engine.check();
  t.notOk(engine.isHere, 'one that does not say its name');
});

t.test('an engine that cannot be used', async (t) => {
  const { engine, fake } = makeEngine(t, { context: 'c' });
  const cases: [answer: object, message: RegExp][] = [
    [
      { code: 1, stderr: 'Cannot connect to the Docker daemon' },
      /^cannot use the context c: no engine answers; /,
    ],
    [info({ ServerErrors: ['Cannot connect to the Docker daemon'] }), /context c: no engine answers; /],
    [info({ OSType: 'windows' }), /it runs windows containers; switch it to Linux containers$/],
    [{ stdout: 'WARNING\n' }, /docker info has answered what is not understood \(.*\); update docker$/],
  ];
  for (const [answer, message] of cases) {
    fake.answer({ info: answer });
    await t.rejects(engine.check(), { name: 'OperationError', message });
  }
});

t.test('an image that is not there is pulled, and what that takes is said', async (t) => {
  const { engine, fake, folder, said } = makeEngine(t);
  fake.answer({ 'image inspect': { code: 1, stderr: 'Error: No such image: node:24-slim' } });
  await engine.prepare(folder);
  t.same(said, ['pulling the image node:24-slim, which may take a minute']);
  t.ok(fake.calls.includes('pull --quiet node:24-slim'));
});

t.test('an image that cannot be used', async (t) => {
  const { engine, fake, folder } = makeEngine(t, { image: 'mine' });
  const cases: [answers: Parameters<FakeDocker['answer']>[0], message: RegExp][] = [
    [
      { image: { code: 1 }, pull: { code: 1, stderr: 'Error response from daemon: no such host' } },
      /^the engine has no image mine, and cannot pull it: docker says: no such host; load it into the engine, or name another one that has Node\.js with --image$/,
    ],
    [
      {
        run: {
          code: 127,
          stderr: 'docker: Error response from daemon: exec: "node": executable file not found',
        },
      },
      /^cannot use the image mine: the image has no node; name one that has with --image/,
    ],
    [
      { run: { stdout: 'v18.20.4\n' } },
      /^the image mine has Node\.js v18\.20\.4, which is too old: name one with 20\.19\.0 or later, such as node:24-slim$/,
    ],
  ];
  for (const [answers, message] of cases) {
    fake.answer(answers);
    await t.rejects(engine.prepare(folder), { name: 'OperationError', message });
    t.notOk(existsSync(planPath(folder)));
  }
  fake.answer({});
  await engine.prepare(folder);
  t.equal(readPlan(planPath(folder)).image, 'mine');
});
