import { once } from 'node:events';
import http from 'node:http';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import t, { type Test } from 'tap';
import { portferryGuest } from '../../guest/cli.js';
import { EXIT, runProgram } from '../../protocol/program/run-program.js';
import { Peer } from '../fixtures/peer.js';
import { temporaryFolder } from '../fixtures/programs.js';
import { turnsUntil } from '../protocol/fixtures/signal.js';
import { EngineServer } from './docker/fixtures/engine-server.js';

interface Outcome {
  code: number;
  stderr: string;
}

/** Runs the program in this process. It logs on the real stderr: nothing, unless told otherwise. */
async function run(args: string[], environment: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const stderr = new PassThrough();
  const stdout = new PassThrough().resume();
  const env = { PORTFERRY_LOG_LEVEL: 'silent', PORTFERRY_DOCKER: 'off', ...environment };
  const code = await runProgram(portferryGuest, { args, environment: env, stdout, stderr });
  stderr.end();
  let text = '';
  for await (const chunk of stderr) text += chunk;
  return { code, stderr: text };
}

/** As a terminal's Ctrl-C, but for this process's own handlers only. */
const interrupt = (): boolean => process.emit('SIGINT', 'SIGINT');

async function ask(path: string, resource: string): Promise<string> {
  const [response] = await once(http.get({ socketPath: path, path: resource, agent: false }), 'response');
  let text = '';
  for await (const chunk of response) text += chunk;
  return text;
}

async function meet(t: Test, args: string[], path: string, environment?: NodeJS.ProcessEnv): Promise<void> {
  const host = await Peer.listen(t, { kind: 'unix', path });
  const outcome = run(args, environment);
  await host.until(() => host.connected);
  interrupt();
  t.same(await outcome, { code: EXIT.done, stderr: '' });
}

t.test('it connects to the address that is given, until it is told to stop', async (t) => {
  const path = join(temporaryFolder(t), 'c');
  await meet(t, ['--connect', `unix:${path}`, '--keep-alive', '30'], path);
});

t.test('with no address it connects to the default one', async (t) => {
  const folder = temporaryFolder(t);
  await meet(t, ['--debug'], join(folder, 'channel.sock'), { PORTFERRY_RUNTIME_DIR: folder });
});

t.test("with vpnkit-forwarder's flags it stands in its place", async (t) => {
  const folder = temporaryFolder(t);
  const [path, control] = [join(folder, 'c'), join(folder, 'control')];
  await meet(t, ['-data-connect', path], path);

  const host = await Peer.listen(t, { kind: 'unix', path });
  const outcome = run(['-data-connect', path, '-control-listen', control]);
  await host.until(() => host.connected);
  t.equal(await whenThere(() => ask(control, '/forwards/list')), '[]');
  interrupt();
  t.equal((await outcome).code, EXIT.done);
});

t.test('it makes the folder of the proxy socket, if that is its own', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'c');
  const host = await Peer.listen(t, { kind: 'unix', path });
  const runtime = join(folder, 'run');
  const outcome = run(
    [
      '--connect',
      `unix:${path}`,
      '--proxy-socket',
      join(runtime, 'proxy.sock'),
      '-control-listen',
      join(folder, 'd'),
    ],
    { PORTFERRY_RUNTIME_DIR: runtime },
  );
  await host.until(() => host.connected);
  for (const socket of [join(runtime, 'proxy.sock'), join(folder, 'd')])
    t.equal(await whenThere(() => ask(socket, '/forwards/list')), '[]');
  interrupt();
  t.same(await outcome, { code: EXIT.done, stderr: '' });
});

t.test('it can listen, also as vpnkit-forwarder does', async (t) => {
  for (const flag of ['--listen', '-data-listen']) {
    const folder = temporaryFolder(t);
    const path = join(folder, 'c');
    const control = join(folder, 'control');
    const address = flag === '--listen' ? `unix:${path}` : path;
    const outcome = run([flag, address, '-control-listen', control]);
    await whenThere(() => Peer.connect(t, { kind: 'unix', path }));
    interrupt();
    t.equal((await outcome).code, EXIT.done);
  }
});

/** In this process a listener is there after a few turns of the event loop. */
async function whenThere<T>(action: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await action();
    } catch {
      await new Promise(setImmediate);
    }
  }
}

t.test('it publishes what a Docker engine publishes, until it is told to stop', async (t) => {
  const engine = await EngineServer.start(t);
  const outcome = run(['--connect', `unix:${join(temporaryFolder(t), 'c')}`, `--docker=${engine.socket}`]);
  await engine.until(() => engine.lists > 0);
  interrupt();
  t.same(await outcome, { code: EXIT.done, stderr: '' });
  await engine.until(() => engine.listeners === 0);
});

t.test('a signal that comes while it starts stops it, too', async (t) => {
  const path = join(temporaryFolder(t), 'c');
  const heeded = process.listenerCount('SIGINT');
  const outcome = run(['--listen', `unix:${path}`]);
  await turnsUntil(() => process.listenerCount('SIGINT') > heeded);
  interrupt();
  t.equal((await outcome).code, EXIT.done);
});

t.test('what is wrong is said in one line', async (t) => {
  const folder = temporaryFolder(t);
  const usage: [args: string[], reason: RegExp][] = [
    [['--connect', 'unix:/a', '--listen', 'unix:/b'], /exclude each other/],
    [['--connect', 'unix:/a', '--data-listen', '/b'], /--connect and --data-listen cannot both be given/],
    [['--listen', 'stdio:'], /cannot listen on "stdio:"/],
    [['--connect', 'tcp:127.0.0.1:0'], /port 0 is for listening only/],
    [['--connect', 'nowhere'], /nowhere/],
    [['-data-connect', '0'], /"vsock:0" is not a channel address: the vsock port must be/],
    [['-data-listen', '0:62372'], /"vsock:0:62372" is not a channel address: the CID/],
    [['--debug', '--allow-dial', 'localhost'], /'localhost' is no IP address/],
    [['--docker=tcp://127.0.0.1:2375'], /--docker must be the path of the Docker engine's socket/],
    [['--publish-rules', join(folder, 'none.json')], /the rules of .*none\.json cannot be read/],
    [['--keep-alive', '0.5'], /--keep-alive must be a whole number of at least 0 and at most 32767/],
    [['--no-such-option'], /no-such-option/],
    [['--log-level', 'loud'], /must be one of/],
  ];
  for (const [args, reason] of usage) {
    const { code, stderr } = await run(args, { PORTFERRY_LOG_LEVEL: '' });
    t.equal(code, EXIT.usage, args.join(' '));
    t.match(stderr, reason);
    t.equal(stderr.split('\n').length, 2, stderr);
  }
  const { code, stderr } = await run(['--listen', `unix:${join(folder, 'no', 'such', 'folder', 's')}`]);
  t.equal(code, EXIT.failed);
  t.match(stderr, /^portferry-guest: cannot listen on .* does not exist; create it first\n$/);
});
