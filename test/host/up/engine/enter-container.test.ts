import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createContainer } from '../../../../host/up/engine/containers.js';
import { DockerCommand } from '../../../../host/up/engine/docker-command.js';
import { type EnginePlan, setReady } from '../../../../host/up/engine/engine-plan.js';
import { enterContainer } from '../../../../host/up/engine/enter-container.js';
import { TextSink } from '../../../fixtures/call-program.js';
import { FakeDocker } from '../../../fixtures/fake-docker.js';
import { temporaryFolder } from '../../../fixtures/programs.js';

/** What the guest does in its container: it says something, and ends with this code. */
function makePlan(t: Test, code = 0): { plan: EnginePlan; fake: FakeDocker; stderr: TextSink } {
  const [fake, folder] = [new FakeDocker(t), temporaryFolder(t)];
  const bundle = join(folder, 'guest.mjs');
  writeFileSync(bundle, `console.error('{"msg":"here"}'); process.exitCode = Number(process.argv[2]);`);
  const guestArgs = [String(code)];
  const plan = { docker: fake.call, image: 'image', engineSocket: '/s', bundle, guestArgs, folder };
  return { plan, fake, stderr: new TextSink() };
}

const verbs = ({ calls }: FakeDocker): string[] => calls.map((call) => call.split(' ')[0] ?? '');

t.test('a container that is ready is started, and nothing else is asked for', async (t) => {
  const { plan, fake, stderr } = makePlan(t);
  await createContainer(new DockerCommand(fake.call), plan);
  t.equal(await enterContainer(plan, stderr), 0);
  t.equal(stderr.text, '{"msg":"here"}\n');
  t.same(verbs(fake), ['create', 'cp', 'start']);
  t.same(fake.containers, []);
});

t.test('one that has gone is made anew, after whatever is left of it', async (t) => {
  const { plan, fake, stderr } = makePlan(t, 3);
  const docker = new DockerCommand(fake.call);
  await createContainer(docker, plan);
  setReady(plan.folder, 'gone');
  t.equal(await enterContainer(plan, stderr), 3, 'the exit code is the guest’s');
  t.match(stderr.text, /No such container: gone[\s\S]*"here"\}\n$/);
  t.same(verbs(fake).slice(2), ['start', 'ps', 'rm', 'ps', 'create', 'cp', 'start']);
  t.same(fake.containers, []);
  t.equal(await enterContainer(plan, stderr), 3, 'and again, when the channel was lost');
});

t.test('why docker cannot start it is the last that is said', async (t) => {
  const { plan, fake, stderr } = makePlan(t);
  fake.answer({ start: { code: 1, stderr: 'one\nError response from daemon: it is broken\n' } });
  t.equal(await enterContainer(plan, stderr), 1);
  t.match(stderr.text, /\ncannot start the guest's container: docker says: it is broken\n$/);
  fake.answer({ create: { code: 1, stderr: 'Cannot connect to the Docker daemon' } });
  await t.rejects(enterContainer(plan, stderr), { message: /no engine answers/ });
});

t.test('a docker that is killed', async (t) => {
  const { plan, stderr } = makePlan(t);
  setReady(plan.folder, 'c');
  t.equal(await enterContainer({ ...plan, docker: ['sh', '-c', 'kill -9 $$'] }, stderr), 1);
});
