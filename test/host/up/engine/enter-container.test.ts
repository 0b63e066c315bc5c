import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createContainer } from '../../../../host/up/engine/containers.js';
import { DockerCommand } from '../../../../host/up/engine/docker-command.js';
import { type EnginePlan, setReady } from '../../../../host/up/engine/engine-plan.js';
import { enterContainer } from '../../../../host/up/engine/enter-container.js';
import { TextSink } from '../../../fixtures/call-program.js';
import { type FakeAnswer, FakeDocker } from '../../../fixtures/fake-docker.js';
import { temporaryFolder } from '../../../fixtures/programs.js';

/** What the guest does in its container: it says something, and ends with this code. */
function makePlan(t: Test, code = 0): { plan: EnginePlan; fake: FakeDocker; stderr: TextSink } {
  const [fake, folder] = [new FakeDocker(t), temporaryFolder(t)];
  const bundle = join(folder, 'guest.mjs');
  const script = `console.error('{"msg":"here"}');
    process.exitCode = Number(process.argv[2]);
    if (process.exitCode) console.error('no luck');`;
  writeFileSync(bundle, script);
  const guestArgs = [String(code)];
  const plan = { docker: fake.call, image: 'image', engineSocket: '/s', bundle, guestArgs, folder };
  return { plan, fake, stderr: new TextSink() };
}

const verbs = ({ calls }: FakeDocker): string[] => calls.map((call) => call.split(' ')[0] ?? '');

t.test('a container that is ready is started, and nothing else is asked for', async (t) => {
  const { plan, fake, stderr } = makePlan(t);
  await createContainer(new DockerCommand(fake.call), plan);
  await enterContainer(plan, stderr);
  t.equal(stderr.text, '{"msg":"here"}\n');
  t.same(verbs(fake), ['create', 'cp', 'start']);
  t.same(fake.containers, []);
});

t.test('one that has gone is made anew, after whatever is left of it', async (t) => {
  const { plan, fake, stderr } = makePlan(t);
  const docker = new DockerCommand(fake.call);
  await createContainer(docker, plan);
  setReady(plan.folder, 'gone');
  await enterContainer(plan, stderr);
  t.match(stderr.text, /No such container: gone[\s\S]*"here"\}\n$/);
  t.same(verbs(fake).slice(2), ['start', 'ps', 'rm', 'ps', 'create', 'cp', 'start']);
  t.same(fake.containers, []);
  await enterContainer(plan, stderr);
  t.same(verbs(fake).slice(-4), ['ps', 'create', 'cp', 'start'], 'and again, when the channel was lost');
});

t.test('why it has ended is one sentence', async (t) => {
  const { plan, fake, stderr } = makePlan(t, 3);
  await t.rejects(enterContainer(plan, stderr), {
    message: "the guest's container ended with exit code 3: no luck",
  });
  const cases: [answer: FakeAnswer, message: RegExp][] = [
    [
      { code: 1, stderr: 'one\nError response from daemon: it is broken\n{"msg":"x"}\n' },
      /^cannot run the guest's container: docker says: it is broken$/,
    ],
    [
      { code: 1, stderr: 'TypeError: no function\n    at x.js\n\nNode.js v20.19.0\n' },
      /^the guest's container ended with exit code 1: TypeError: no function$/,
    ],
    [{ code: 137, stderr: '{"msg":"x"}\n' }, /^the guest's container ended with exit code 137$/],
  ];
  for (const [answer, message] of cases) {
    fake.answer({ start: answer });
    await t.rejects(enterContainer(plan, stderr), { name: 'OperationError', message });
  }
  fake.answer({ create: { code: 1, stderr: 'Cannot connect to the Docker daemon' } });
  await t.rejects(enterContainer(plan, stderr), { message: /no engine answers/ });
});

t.test('a docker that is killed', async (t) => {
  const { plan, stderr } = makePlan(t);
  setReady(plan.folder, 'c');
  await t.rejects(enterContainer({ ...plan, docker: ['sh', '-c', 'kill -9 $$'] }, stderr), {
    message: "the guest's container ended by SIGKILL",
  });
});
