import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Pair } from '../e2e/fixtures/pair.js';
import { builtCommand, Program, requireProgram, run } from '../fixtures/programs.js';
import { BUSYBOX, DockerVm, IMAGE } from './fixtures/docker.js';
import { withEachEngine } from './fixtures/docker-engines.js';

const LARGE_BYTES = 64 * 1024 * 1024 + 321;

const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

await withEachEngine(t, "the VM's docker.sock on the host serves the docker CLI", async (t, engine) => {
  const script = requireProgram(t, 'script');
  if (script === undefined) return;
  const vm = await DockerVm.start(t, { engine });
  if (!vm) return;
  const pair = new Pair(t);
  const socket = join(pair.folder, 'docker.sock');
  pair.startHost('--forward', `unix:${socket}:${vm.socket}`);
  const [command = '', ...args] = [...vm.enter, ...builtCommand('guest/main.js'), '--connect', pair.channel];
  Program.start(t, command, args);
  await pair.up();
  await pair.host.line(/^unix \S+ → /);

  const env = { DOCKER_HOST: `unix://${socket}`, DOCKER_BUILDKIT: '0' };
  /** The docker CLI on the host, for which nothing but the forward leads to a dockerd. */
  const start = (t: Test, ...args: string[]): Program => Program.start(t, 'docker', args, { env });
  const docker = async (t: Test, ...args: string[]): Promise<string> => {
    const program = start(t, ...args);
    if ((await program.exit()) !== 0) throw new Error(program.describe());
    return program.lines.join('\n');
  };
  /** A shell's command line, for what has a terminal or a pipe on its standard input. */
  const shell = (t: Test, line: string): Program => Program.start(t, 'sh', ['-c', line], { env });

  await t.test('run, with its output and its exit code', async (t) => {
    t.equal(await docker(t, 'run', '--rm', IMAGE, BUSYBOX, 'echo', 'hello'), 'hello');
    const failing = start(t, 'run', '--rm', IMAGE, BUSYBOX, 'sh', '-c', 'echo no >&2; exit 3');
    t.equal(await failing.exit(), 3);
    t.same(failing.lines, ['no']);
  });

  await t.test('logs that are followed, until the container ends', async (t) => {
    const loop = 'i=0; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); done; read rest; echo last';
    const container = ['-i', '--name', 'talker', IMAGE, BUSYBOX, 'sh', '-c', loop];
    t.teardown(() => vm.docker('rm', '-f', 'talker'));
    await docker(t, 'run', '-d', ...container);
    const logs = start(t, 'logs', '-f', 'talker');
    await logs.line(/^line 49$/);
    const attached = shell(t, 'echo go | docker attach talker');
    await attached.exit();
    t.equal(await logs.exit(), 0);
    t.equal(logs.lines.length, 51);
    t.equal(logs.lines.at(-1), 'last');
  });

  await t.test('exec on a terminal', async (t) => {
    t.teardown(() => vm.docker('rm', '-f', 'idle'));
    await vm.start(['--name', 'idle'], BUSYBOX, 'sleep', '1000');
    // The client tells the terminal's size only after the program has started.
    const sized = 'until stty size 2>&1 | grep "33 77"; do :; done';
    const line = `docker exec -it idle ${BUSYBOX} sh -c '\\''${sized}; tty; read word; echo got $word'\\''`;
    const terminal = `stty rows 33 cols 77; ${line}`;
    const program = shell(t, `(echo word) | ${script} -qec '${terminal}' /dev/null`);
    t.equal(await program.exit(), 0, program.describe());
    const lines = program.lines.map((each) => each.trim());
    t.ok(lines.includes('33 77'), "the terminal's size has come through");
    t.ok(lines.some((each) => /^\/dev\/pts\/\d+$/.test(each)));
    t.ok(lines.includes('got word'));
  });

  await t.test('the end of the input is the end of the input only', async (t) => {
    const program = shell(t, `echo hi | docker run -i --rm ${IMAGE} ${BUSYBOX} sh -c 'cat; echo after'`);
    t.equal(await program.exit(), 0);
    t.same(program.lines, ['hi', 'after']);
  });

  await t.test('an image is built from a folder on the host', async (t) => {
    const folder = join(vm.folder, 'build');
    mkdirSync(folder);
    const large = join(folder, 'large');
    writeFileSync(large, randomBytes(LARGE_BYTES));
    writeFileSync(
      join(folder, 'Dockerfile'),
      `FROM ${IMAGE}\nADD large /large\nRUN ["${BUSYBOX}", "sha256sum", "/large"]\n`,
    );
    const built = await docker(t, 'build', '--force-rm', '-t', 'portferry-built', folder);
    t.match(built, sha256(large));
    t.match(built, 'Successfully tagged portferry-built');
  });

  await t.test('large streams in both directions are the same on both sides', async (t) => {
    const saved = join(vm.folder, 'saved.tar');
    const again = join(vm.folder, 'again.tar');
    await docker(t, 'save', '-o', saved, 'portferry-built');
    await vm.docker('save', '-o', again, 'portferry-built');
    t.equal(sha256(saved), sha256(again), 'out of the VM');
    t.ok(readFileSync(saved).length > LARGE_BYTES);

    const layer = join(vm.folder, 'layer.tar');
    await run(t, 'tar', '-C', join(vm.folder, 'build'), '-cf', layer, 'large');
    const imported = await docker(t, 'import', layer, 'portferry-imported');
    t.match(imported, /^sha256:/);
    const exported = join(vm.folder, 'exported.tar');
    await vm.docker('create', '--name', 'imported', 'portferry-imported', '/nothing');
    t.teardown(() => vm.docker('rm', '-f', 'imported'));
    await docker(t, 'cp', 'imported:/large', exported);
    t.equal(sha256(exported), sha256(join(vm.folder, 'build', 'large')), 'into the VM, and out again');
  });
});
