import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { basename, join } from 'node:path';
import t from 'tap';
import { OperationError } from '../../../protocol/errors.js';
import { isAbandoned } from '../../../protocol/transport/stale-socket.js';
import { connectablePath, listenOnUnixPath } from '../../../protocol/transport/unix-path.js';
import { temporaryFolder } from './fixtures/pairs.js';

t.test('listens with the mode that is asked for, and leaves the umask alone', async (t) => {
  const folder = temporaryFolder(t);
  const umask = process.umask();
  await listen(t, join(folder, 'private'));
  await listen(t, join(folder, 'open'), 0o666);
  t.equal(modeOf(join(folder, 'private')), 0o600);
  t.equal(modeOf(join(folder, 'open')), 0o666);
  t.equal(process.umask(), umask);
});

t.test('has the mode as soon as the file exists', async (t) => {
  const path = join(temporaryFolder(t), 's');
  const server = net.createServer();
  t.teardown(() => server.close());
  const { promise, modes } = watchBind(server, path);
  await Promise.all([listenOnUnixPath(server, path), promise]);
  t.same(modes, [0o600]);
});

t.test('closing the server removes the socket', async (t) => {
  const path = join(temporaryFolder(t), 's');
  const server = net.createServer();
  await listenOnUnixPath(server, path);
  t.equal(existsSync(path), true);
  server.close();
  await once(server, 'close');
  t.equal(existsSync(path), false);
  t.equal(server.listenerCount('error'), 0);
});

t.test('replaces a stale socket', async (t) => {
  const path = join(temporaryFolder(t), 's');
  await leaveStaleSocket(path);
  await listen(t, path);
  const client = net.connect({ path });
  await once(client, 'connect');
  client.destroy();
});

t.test('goes on when the stale socket vanishes meanwhile', async (t) => {
  const path = join(temporaryFolder(t), 's');
  await leaveStaleSocket(path);
  const listening = listen(t, path);
  unlinkSync(path);
  await listening;
  t.equal(modeOf(path), 0o600);
});

t.test('refuses a socket that is answered', async (t) => {
  const path = join(temporaryFolder(t), 's');
  await listen(t, path);
  await t.rejects(listen(t, path), {
    name: 'OperationError',
    message: `cannot listen on ${path}: it is in use by another process; stop that one, or choose another path`,
  });
  t.equal(existsSync(path), true);
});

t.test(
  'refuses a socket whose process is too busy to answer',
  {
    // Elsewhere a full queue looks the same as a stale socket.
    skip: process.platform !== 'linux',
  },
  async (t) => {
    const path = join(temporaryFolder(t), 's');
    const busy = net.createServer((socket) => socket.destroy());
    t.teardown(() => busy.close());
    busy.listen({ path, backlog: 1 });
    await once(busy, 'listening');
    for (let client = 0; client < 5; client++) net.connect({ path }).on('error', () => {});
    await t.rejects(listen(t, path), { message: /in use by another process/ });
  },
);

t.test('on macOS a refusal alone does not make a socket stale', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 's');
  const program = (name: string, text: string): string => {
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`, { mode: 0o700 });
    return join(folder, name);
  };
  const search = (lsof: string, uid = process.getuid?.()) =>
    ({ platform: 'darwin', uid, lsof, pauseMs: 1 }) as const;
  const open = (...args: Parameters<typeof search>) =>
    listenOnUnixPath(net.createServer(), path, 0o600, 0, search(...args));
  await leaveStaleSocket(path);
  for (const name of [path, 's', join(folder, '..', basename(folder), 's')])
    await t.rejects(
      open(program('has', `printf 'p7\\nf3\\nn${name} type=STREAM\\n'`)),
      { message: /in use/ },
      name,
    );
  await t.rejects(open(join(folder, 'none')), { message: /in use/ }, 'lsof does not say');
  await t.rejects(open(program('others', 'true'), 4711), { message: /in use/ }, "another user's");
  const server = net.createServer();
  const lsof = program('free', `printf 'p7\\nf3\\nn/no/such/folder/s\\nn${folder}/other\\nn->0x1\\n'`);
  await listenOnUnixPath(server, path, 0o600, 0, search(lsof));
  t.equal(modeOf(path), 0o600, 'nobody has it: it is replaced');
  server.close();
});

t.test('on macOS a process that was only busy is found alive', async (t) => {
  const path = join(temporaryFolder(t), 's');
  let asked = 0;
  const refuses = async (): Promise<boolean> => ++asked > 1;
  t.equal(await isAbandoned(path, { uid: 1 }, refuses, { platform: 'darwin', pauseMs: 1 }), false);
  t.equal(asked, 1);
});

t.test('of two that find the same stale socket, one gets it and neither loses it', async (t) => {
  const path = join(temporaryFolder(t), 's');
  await leaveStaleSocket(path);
  const outcomes = await Promise.allSettled([listen(t, path), listen(t, path)]);
  t.same(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  t.match(
    outcomes.find(({ status }) => status === 'rejected'),
    { reason: /in use by another process/ },
  );
  const client = net.connect({ path });
  await once(client, 'connect');
  client.destroy();
});

t.test('of two that find nothing, the later one is told that the path is taken', async (t) => {
  const path = join(temporaryFolder(t), 's');
  const outcomes = await Promise.allSettled([listen(t, path), listen(t, path)]);
  t.match(
    outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason : undefined)),
    [undefined, { name: 'OperationError', message: `cannot listen on ${path}: EADDRINUSE (` }],
  );
});

t.test('leaves every other kind of file alone', async (t) => {
  const folder = temporaryFolder(t);
  const path = (name: string): string => join(folder, name);
  writeFileSync(path('file'), 'precious');
  mkdirSync(path('folder'));
  symlinkSync(path('file'), path('link'));
  execFileSync('mkfifo', [path('pipe')]);
  await t.rejects(listen(t, path('file')), { message: /: there is a file, which is left alone; remove it/ });
  await t.rejects(listen(t, path('folder')), { message: /: there is a folder, / });
  await t.rejects(listen(t, path('link')), { message: /: there is a symbolic link, / });
  await t.rejects(listen(t, path('pipe')), { message: /: there is a named pipe, / });
  await t.rejects(listen(t, '/dev/null'), { message: /: there is a device, / });
  t.equal(readFileSync(path('file'), 'utf8'), 'precious');
  t.ok(lstatSync(path('link')).isSymbolicLink());
});

t.test('makes the folder, and the one above it', async (t) => {
  const folder = temporaryFolder(t);
  await listen(t, join(folder, 'one', 'two', 's'));
  await listen(t, join(folder, 'one', 'two', 't'));
  t.equal(modeOf(join(folder, 'one')), 0o700);
  t.equal(modeOf(join(folder, 'one', 'two')), 0o700);
});

t.test('says when more is missing, or is no folder, or cannot be made', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'file'), '');
  await t.rejects(listen(t, join(folder, 'absent', 'two', 'three', 's')), {
    name: 'OperationError',
    message: /: the folder .*\/absent does not exist; create it first/,
  });
  t.notOk(existsSync(join(folder, 'absent')));
  await t.rejects(listen(t, '/proc/none/s'), {
    name: 'OperationError',
    message: /^cannot listen on \/proc\/none\/s: cannot make the folder \/proc\/none: E/,
  });
  await t.rejects(listen(t, join(folder, 'file', 's')), { message: /: ENOTDIR \(part of the path/ });
});

t.test('a path that is too long works relative to the current folder', async (t) => {
  const folder = join(temporaryFolder(t), 'd'.repeat(100));
  mkdirSync(folder);
  const path = join(folder, 's');
  t.throws(() => connectablePath(path), {
    name: 'OperationError',
    message: new RegExp(
      `^the socket path ${path} is ${path.length} bytes long, and this system takes 10[37];`,
    ),
  });
  await t.rejects(listen(t, path), OperationError);

  const before = process.cwd();
  process.chdir(folder);
  try {
    t.equal(connectablePath(path), 's');
    const server = await listen(t, path);
    const client = net.connect({ path: connectablePath(path) });
    await once(client, 'connect');
    client.destroy();
    server.close();
    t.equal(existsSync(path), false);
  } finally {
    process.chdir(before);
  }
});

t.test('knows what each system takes', async (t) => {
  const path = `/${'x'.repeat(104)}`;
  t.equal(connectablePath(path, 'linux'), path);
  t.throws(() => connectablePath(path, 'darwin'), {
    message: /is 105 bytes long, and this system takes 103/,
  });
});

t.test('counts bytes, not characters', async (t) => {
  t.equal(connectablePath(`/${'x'.repeat(100)}`), `/${'x'.repeat(100)}`);
  t.throws(() => connectablePath(`/${'é'.repeat(60)}`), { message: /is 121 bytes long/ });
});

async function listen(t: Tap, path: string, mode?: number): Promise<net.Server> {
  const server = net.createServer((socket) => socket.on('error', () => {}).resume());
  t.teardown(() => server.close());
  await listenOnUnixPath(server, path, mode);
  return server;
}

function modeOf(path: string): number {
  return lstatSync(path).mode & 0o777;
}

/** Looks at the socket right after bind: before anything else of this process or of the event loop can run. */
function watchBind(server: net.Server, path: string): { promise: Promise<unknown>; modes: number[] } {
  const modes: number[] = [];
  const listen = server.listen.bind(server) as (options: net.ListenOptions) => net.Server;
  server.listen = ((options: net.ListenOptions) => {
    listen(options);
    modes.push(modeOf(path));
    return server;
  }) as typeof server.listen;
  return { promise: once(server, 'listening'), modes };
}

/** A socket file whose process was killed before it could remove it. */
async function leaveStaleSocket(path: string): Promise<void> {
  const script = `require('node:net').createServer().listen(process.argv[1], () => console.log('up'))`;
  const child = spawn(process.execPath, ['-e', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
}

type Tap = Pick<typeof t, 'teardown'>;
