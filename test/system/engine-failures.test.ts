import t from 'tap';
import { requireProgram } from '../fixtures/programs.js';
import { IMAGE } from './fixtures/docker.js';
import { CONTEXT, EnterableVm, OLD_NODE_IMAGE } from './fixtures/engine-vm.js';

t.test('what cannot work with --engine is one sentence, with what to do', async (t) => {
  if (requireProgram(t, 'setpriv') === undefined) return;
  const on = await EnterableVm.start(t);
  if (!on) return;
  const { vm } = on;
  const engine = `--engine=${CONTEXT}`;
  const fails = async (
    message: RegExp,
    args: readonly string[],
    prefix: readonly string[] = [],
  ): Promise<void> => {
    const program = on.program(t, args, prefix);
    t.equal(await program.exit(), 1);
    t.match(program.lines.at(-1), message);
    t.equal(program.count(/^portferry: /), 1);
    t.same(await on.containers(), []);
  };
  await fails(/cannot use the context nope: there is no such context; docker context ls lists/, [
    '--engine=nope',
  ]);
  await fails(/no engine answers; start it/, ['--engine'], ['DOCKER_HOST=unix:///nowhere/docker.sock']);
  await fails(/no engine answers; start it/, ['--engine'], ['DOCKER_HOST=tcp://127.0.0.1:1']);
  await fails(
    /this user may not use the engine's socket; join the group/,
    ['--engine'],
    [...'setpriv --reuid 65534 --clear-groups env'.split(' '), `DOCKER_HOST=unix://${vm.socket}`],
  );
  await fails(/the engine has no image portferry\.invalid\/none, and cannot pull it: /, [
    engine,
    '--image',
    'portferry.invalid/none',
  ]);
  await fails(/the image portferry-test: the image has no node; name one that has/, [
    engine,
    '--image',
    IMAGE,
  ]);
  await fails(/has Node\.js v18\.20\.4, which is too old: name one with 20\.19\.0 or later/, [
    engine,
    '--image',
    OLD_NODE_IMAGE,
  ]);
  await fails(/has no socket there; say with --engine-socket PATH/, [
    engine,
    '--engine-socket',
    '/nowhere/docker.sock',
  ]);
  await fails(
    /^portferry: there is no docker command on the PATH: install the Docker CLI/,
    ['--engine'],
    ['PATH=/nowhere'],
  );
});
