import net from 'node:net';
import t, { type Test } from 'tap';
import { chooseFreePorts, freePort } from '../fixtures/free-ports.js';
import {
  builtCommand,
  Program,
  startPortferry,
  startPortferryGuest,
  startServer,
} from '../fixtures/programs.js';
import { EngineServer, listed } from '../guest/docker/fixtures/engine-server.js';
import { logLines, Pair } from './fixtures/pair.js';

const INFO = 30;

/** Every message of a log at info and above, with what differs from run to run taken out. */
function messagesOf(program: Program, pair: Pair): string[] {
  return logLines(program)
    .filter(({ level }) => level >= INFO)
    .map(({ level, msg }) =>
      `${level === INFO ? 'info' : 'WARN'} ${msg}`
        .replaceAll(pair.folder, 'FOLDER')
        .replace(/portferry \d+\.\d+\.\d+/g, 'portferry V')
        .replace(/after \d+\.\d m?s/g, 'after TIME')
        .replace(/by node \(pid \d+\)/, 'by node'),
    );
}

/** Fetches what the server has. */
async function visit(t: Test, pair: Pair, port: number): Promise<void> {
  const client = await pair.connect(port);
  t.equal(await client.outcome(), 'end');
  client.socket.end();
  await client.until(() => client.closed);
}

/** Connects, and waits for the end, whatever it is. */
async function connectInVain(t: Test, port: number): Promise<void> {
  const socket = net.connect(port, '127.0.0.1').on('error', () => {});
  t.teardown(() => socket.destroy());
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
}

t.test('the whole log of a day: each forward, each outage, each failure, and no line more', async (t) => {
  const port = await startServer(t, (socket) => void socket.end('served'));
  const [first = 0, second = 0, nobody = 0] = await chooseFreePorts(3);
  const pair = new Pair(t);
  const host = pair.startHost('--forward', `127.0.0.1:${first}:${port}`, '--hold', '0');
  await host.line(/"msg":"listening on/);
  const guest = pair.startGuest();
  await pair.up();
  await visit(t, pair, port);

  await pair.run('expose', `127.0.0.1:${second}:${nobody}`);
  await connectInVain(t, second);
  t.equal((await pair.run('expose', `127.0.0.1:${port}:80`)).code, 1);
  await pair.run('unexpose', `127.0.0.1:${second}`);

  t.equal(await guest.stop('SIGKILL'), 'SIGKILL');
  await host.line(/"msg":"no channel/);
  for (let client = 0; client < 2; client++) await connectInVain(t, first);
  const again = pair.startGuest();
  await pair.up(2);
  t.equal(await again.stop(), 0);
  await host.line(/the guest was told to stop/);
  t.equal(await host.stop(), 0);

  const refused = `the guest could not reach tcp 127.0.0.1:${nobody}: ECONNREFUSED (connect ECONNREFUSED 127.0.0.1:${nobody})`;
  const taken = `cannot listen on 127.0.0.1:${port}: address already in use (EADDRINUSE) by node; free it, or choose another host port`;
  t.same(messagesOf(host, pair), [
    "info sockets: libuv's handles",
    'info waiting for the channel on unix:FOLDER/channel.sock',
    `info listening on 127.0.0.1:${first}`,
    'info the channel is up, with portferry V',
    `info listening on 127.0.0.1:${second}`,
    `WARN client reset: ${refused} after TIME; see portferry doctor ${second}`,
    `info POST /v1/forwards was refused: ${taken}`,
    'info no longer listening',
    'WARN no channel: the peer closed the channel; waiting for the next one',
    'WARN clients are reset: no channel on unix:FOLDER/channel.sock (the peer closed the channel): start or check the guest; the client has waited for 0 s',
    'info the channel is up, with portferry V, again after TIME: 2 clients were reset meanwhile',
    'info no channel: the guest was told to stop; waiting for the next one',
    'info told to stop, by SIGTERM',
  ]);
  t.same(messagesOf(guest, pair), [
    "info sockets: libuv's handles",
    'info the channel is up, with portferry V',
    `WARN dial failed: connect ECONNREFUSED 127.0.0.1:${nobody}; nothing listens there: start the server, or correct the forward`,
  ]);
});

t.test('connections that an outage cuts are told by their number', async (t) => {
  const port = await startServer(t, (socket) => void socket.write('x'));
  const pair = await Pair.start(t, `127.0.0.1:0:${port}`);
  const clients = [await pair.connect(port), await pair.connect(port)];
  for (const client of clients) await client.until(() => client.bytes > 0);
  await pair.guest.stop('SIGKILL');
  for (const client of clients) t.equal(await client.outcome(), 'ECONNRESET');
  pair.startGuest();
  await pair.up(2);
  const lines = messagesOf(pair.host, pair).slice(-2);
  t.match(lines, [
    /^WARN no channel: .*; waiting for the next one$/,
    /^info the channel is up, .*, again after TIME: 2 connections were cut meanwhile$/,
  ]);
});

t.test('the whole log of a container that starts and stops', async (t) => {
  const engine = await EngineServer.start(t);
  const pair = new Pair(t);
  const host = pair.startHost();
  await host.line(/waiting for the channel/);
  const guest = pair.startGuest(`--docker=${engine.socket}`);
  await pair.up();
  await engine.until(() => engine.listeners > 0);
  const port = await freePort();
  engine.containers = [listed('1a2b3c4d5e6f7890', 'web', port)];
  engine.emit('container', 'start', '1a2b3c4d5e6f7890');
  await host.line(/"msg":"listening on /);
  engine.containers = [];
  engine.emit('container', 'die', '1a2b3c4d5e6f7890');
  await host.line(/"msg":"no longer listening/);
  t.equal(await guest.stop(), 0);
  await host.line(/the guest was told to stop/);
  t.equal(await host.stop(), 0);
  t.same(messagesOf(host, pair), [
    "info sockets: libuv's handles",
    'info waiting for the channel on unix:FOLDER/channel.sock',
    'info the channel is up, with portferry V',
    `info listening on 0.0.0.0:${port} and [::]:${port}`,
    'info no longer listening',
    'info no channel: the guest was told to stop; waiting for the next one',
    'info told to stop, by SIGTERM',
  ]);
  // The engine and the channel are there in any order.
  t.same(messagesOf(guest, pair).sort(), [
    "info sockets: libuv's handles",
    'info the channel is up, with portferry V',
    `info the ports that the Docker engine at ${engine.socket} publishes are published on the host`,
    'info told to stop, by SIGTERM',
  ]);
});

t.test('nothing secret gets into a log, at any level', async (t) => {
  const secret = 'hunter2-of-the-command';
  const pair = new Pair(t);
  const command = `exec:sh -c "exit 3" --password ${secret}`;
  const host = startPortferry(
    t,
    ...['host', '--connect', command, '--control', pair.control, '--log-level', 'trace'],
  );
  await host.line(/"msg":"no channel: /);
  const { lines } = await pair.run('status');
  t.equal(await host.stop(), 0);
  t.equal(host.count(/exec:sh …/) > 0, true, host.describe());
  for (const text of [...host.lines, ...lines]) t.notMatch(text, secret);
});

t.test('nor do the environment, labels and commands of containers, the token of the dashboard', async (t) => {
  const secret = 'hunter2';
  const engine = await EngineServer.start(t);
  const pair = new Pair(t);
  const env = { PORTFERRY_RUNTIME_DIR: pair.folder, DATABASE_PASSWORD: `${secret}-of-the-environment` };
  const start = (main: Parameters<typeof builtCommand>[0], ...args: string[]): Program => {
    const [command, ...rest] = builtCommand(main);
    return Program.start(t, command, [...rest, ...args, '--log-level', 'debug'], { env });
  };
  const port = await startServer(t, (socket) => void socket.end('served'));
  const [dashboard = 0, published = 0, visited = 0] = await chooseFreePorts(3);
  const host = start(
    'host/main.js',
    ...['host', '--listen', pair.channel, '--control', pair.control, `--dashboard=127.0.0.1:${dashboard}`],
    ...['--forward', `127.0.0.1:${visited}:${port}`],
  );
  const guest = start('guest/main.js', '--connect', pair.channel, `--docker=${engine.socket}`);
  await host.line(/the channel is up/);
  await engine.until(() => engine.listeners > 0);
  engine.containers = [
    {
      ...listed('1a2b3c4d5e6f7890', 'web', published),
      Labels: { 'com.example.password': `${secret}-of-the-label` },
      Command: `server --password=${secret}-of-the-command`,
    },
  ];
  engine.emit('container', 'start', '1a2b3c4d5e6f7890');
  await host.line(new RegExp(`"msg":"listening on 0\\.0\\.0\\.0:${published}`));
  await pair.run('path', String(published));
  await connectInVain(t, visited);

  const { lines } = await pair.run('dashboard', '--no-open');
  const [, token = ''] = /#token=([\w-]{43})$/.exec(lines.join('\n')) ?? [];
  t.ok(token, lines.join('\n'));
  for (const given of [token, `${secret}-that-is-no-token`]) {
    const answer = await fetch(`http://127.0.0.1:${dashboard}/v1/status`, {
      headers: { authorization: `Bearer ${given}`, connection: 'close' },
    });
    t.equal(answer.status, given === token ? 200 : 401);
    await answer.text();
  }
  t.equal(await guest.stop(), 0);
  t.equal(await host.stop(), 0);
  t.ok(host.count(/"level":20,/) > 0);
  for (const line of [...host.lines, ...guest.lines]) {
    t.notMatch(line, secret);
    t.notMatch(line, token);
  }
});

t.test('a guest logs more after SIGUSR2, and as before after the next one', async (t) => {
  const pair = new Pair(t);
  const guest = startPortferryGuest(t, '--listen', pair.channel);
  await guest.line(/waiting for the channel/);
  guest.child.kill('SIGUSR2');
  await guest.line(/the log level is debug now, and was info: asked for by SIGUSR2/);
  guest.child.kill('SIGUSR2');
  await guest.line(/the log level is info now, and was debug/);
  t.equal(await guest.stop(), 0);
});

t.test('at level trace there is a line for each frame, and nothing of what it carries', async (t) => {
  const secret = 'hunter2-of-the-server';
  const port = await startServer(t, (socket) => void socket.end(secret));
  const pair = new Pair(t);
  pair.startHost('--forward', `127.0.0.1:0:${port}`);
  pair.startGuest('--log-level', 'trace');
  await pair.up();
  await visit(t, pair, port);
  await pair.guest.line(/"level":10,.*"msg":"sent data, 21 bytes"/);
  const frames = (): number => pair.host.count(/"level":10,/);
  t.equal(frames(), 0);

  await pair.run('log-level', 'trace');
  await visit(t, pair, port);
  await pair.host.line(
    /"level":10,.*"streamId":\d+,"frame":\{"direction":"sent","type":"open"\},"msg":"sent open"/,
  );
  await pair.host.line(/"type":"data","bytes":21\},"msg":"received data, 21 bytes"/);
  await pair.run('log-level', 'info');
  await pair.host.line(/the log level is info now, and was trace/);
  const before = frames();
  await visit(t, pair, port);
  await pair.guest.stop();
  t.equal(await pair.host.stop(), 0);
  t.equal(frames(), before);
  for (const line of [...pair.host.lines, ...pair.guest.lines]) t.notMatch(line, secret);
});

t.test('portferry log-level debug tells of each connection from then on', async (t) => {
  const port = await startServer(t, (socket) => void socket.end('served'));
  const pair = await Pair.start(t, `127.0.0.1:0:${port}`);
  await visit(t, pair, port);
  t.same((await pair.run('log-level', 'debug')).lines, ['debug']);
  t.equal(pair.host.count(/connection closed/), 0);
  await visit(t, pair, port);
  await pair.host.line(/"level":20,.*connection closed/);
});
