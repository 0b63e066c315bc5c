import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  createContainer,
  labelArgs,
  removeContainers,
  removeLeftovers,
} from '../../../../host/up/engine/containers.js';
import { DockerCommand } from '../../../../host/up/engine/docker-command.js';
import { type EnginePlan, takeReady, thisMachine } from '../../../../host/up/engine/engine-plan.js';
import { pidNamespace } from '../../../../protocol/program/temporary-folder.js';
import { FakeDocker } from '../../../fixtures/fake-docker.js';
import { temporaryFolder } from '../../../fixtures/programs.js';

function makePlan(t: Test, fake: FakeDocker): EnginePlan {
  const folder = temporaryFolder(t);
  const bundle = join(folder, 'guest.mjs');
  writeFileSync(bundle, '');
  return { docker: fake.call, image: 'image', engineSocket: '/e.sock', bundle, guestArgs: ['--x'], folder };
}

t.test('a container is made, ready to be started, and removed', async (t) => {
  const fake = new FakeDocker(t);
  const plan = makePlan(t, fake);
  const docker = new DockerCommand(fake.call);
  const id = await createContainer(docker, plan);
  t.same(fake.containers, [id]);
  t.match(fake.calls, [
    `create --interactive --log-driver none --rm --network host --pid host --privileged --user 0 --mount type=bind,source=/e.sock,target=/var/run/docker.sock --label portferry.folder=${plan.folder} --label portferry.machine=${thisMachine()} --entrypoint node image /portferry-guest.mjs --x`,
    `cp ${plan.bundle} ${id}:/portferry-guest.mjs`,
  ]);
  t.equal(takeReady(plan.folder), id);
  t.equal(takeReady(plan.folder), undefined, 'it is started once');
  const other = await docker.must('', ['create', ...labelArgs(temporaryFolder(t))]);
  await removeContainers(docker, plan.folder);
  t.same(fake.containers, [other], 'and no other one with it');
});

t.test('what docker refuses is said', async (t) => {
  const fake = new FakeDocker(t);
  const plan = makePlan(t, fake);
  const docker = new DockerCommand(fake.call);
  fake.answer({ create: { code: 1, stderr: 'Error response from daemon: no\n' } });
  await t.rejects(createContainer(docker, plan), {
    message: 'cannot create a container of image: docker says: no',
  });
  fake.answer({ cp: { code: 1, stderr: 'no space left on device\n' } });
  await t.rejects(createContainer(docker, plan), { message: /^cannot copy the guest into the container: / });
  t.equal(takeReady(plan.folder), undefined);
  fake.answer({ rm: { code: 1, stderr: 'Error: it is stuck\n' } });
  await t.rejects(removeContainers(docker, plan.folder, 2), {
    name: 'OperationError',
    message: 'cannot remove the container: docker says: it is stuck',
  });
});

t.test('of what is left over only that of dead processes of this machine is removed', async (t) => {
  const fake = new FakeDocker(t);
  const docker = new DockerCommand(fake.call);
  const parent = temporaryFolder(t);
  const { pid: dead } = spawnSync('true');
  const leave = async (name: string, owner: number | undefined, machine = thisMachine()): Promise<string> => {
    const folder = join(parent, name);
    mkdirSync(folder);
    if (owner !== undefined) writeFileSync(join(folder, 'owner'), `${owner} ${pidNamespace()}\n`);
    const labels = ['--label', `portferry.folder=${folder}`, '--label', `portferry.machine=${machine}`];
    return docker.must('', ['create', ...labels]);
  };
  await leave('dead', dead);
  await leave('gone', dead);
  rmSync(join(parent, 'gone'), { recursive: true });
  const kept = [
    await leave('living', process.pid),
    await leave('elsewhere', dead, 'another machine'),
    await leave('unowned', dead),
    await docker.must('', ['create', '--label', 'not=ours']),
  ];
  rmSync(join(parent, 'unowned', 'owner'));
  mkdirSync(join(parent, 'unowned', 'owner'));
  await removeLeftovers(docker);
  t.same(new Set(fake.containers), new Set(kept));
  t.match(
    readFileSync(join(fake.folder, 'calls.txt'), 'utf8'),
    /^ps --all --filter label=portferry\.folder /m,
  );
});
