import { writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { EngineGuest } from '../../../../host/up/engine/engine-guest.js';
import { setFailure } from '../../../../host/up/engine/engine-plan.js';
import { FakeDocker } from '../../../fixtures/fake-docker.js';
import { temporaryFolder } from '../../../fixtures/programs.js';

function makeGuest(t: Test): { guest: EngineGuest; fake: FakeDocker; folder: string; said: string[] } {
  const [fake, folder] = [new FakeDocker(t), temporaryFolder(t)];
  const bundle = join(folder, 'guest.mjs');
  writeFileSync(bundle, '');
  const said: string[] = [];
  const guest = new EngineGuest({
    docker: fake.call,
    context: '',
    image: 'image',
    socket: undefined,
    bundle,
    guestArgs: [],
    say: (line) => said.push(line),
    stop: new AbortController().signal,
    enter: ['/a folder/node', 'enter.js'],
    onSameMachine: () => {
      throw new Error('it is this machine');
    },
  });
  return { guest, fake, folder, said };
}

t.test('the host gets the command that enters, and the container goes at the end', async (t) => {
  const { guest, fake, folder, said } = makeGuest(t);
  t.equal(await guest.prepare(folder), `exec:'/a folder/node' enter.js ${folder}/engine.json`);
  t.equal(fake.containers.length, 1);
  t.equal(guest.explain('it ended'), 'it ended');
  setFailure(folder, 'it could not be started');
  t.equal(guest.explain('it ended'), 'it could not be started');
  await guest.remove();
  t.same(fake.containers, []);
  t.same(said, []);
});

t.test('what cannot be removed is said, and left to the next one', async (t) => {
  const { guest, fake, folder, said } = makeGuest(t);
  await guest.prepare(folder);
  fake.answer({ ps: { code: 1, stderr: 'Cannot connect to the Docker daemon' } });
  await guest.remove();
  t.match(said, [
    /^cannot list the engine's containers: no engine answers.*; the next portferry up --engine removes it$/,
  ]);
});

t.test('nothing is removed where nothing was begun', async (t) => {
  const { guest, fake, folder } = makeGuest(t);
  fake.answer({ info: { stdout: JSON.stringify({ Name: hostname(), OSType: 'linux' }) } });
  await t.rejects(guest.prepare(folder), { message: 'it is this machine' });
  t.equal(guest.explain('it ended'), 'it ended');
  const { length } = fake.calls;
  await guest.remove();
  t.equal(fake.calls.length, length);
});
