import net from 'node:net';
import t, { type Test } from 'tap';
import { chooseFreePorts } from '../fixtures/free-ports.js';
import { type Program, startPortferry, startPortferryGuest, startServer } from '../fixtures/programs.js';
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

t.test('portferry log-level debug tells of each connection from then on', async (t) => {
  const port = await startServer(t, (socket) => void socket.end('served'));
  const pair = await Pair.start(t, `127.0.0.1:0:${port}`);
  await visit(t, pair, port);
  t.same((await pair.run('log-level', 'debug')).lines, ['debug']);
  t.equal(pair.host.count(/connection closed/), 0);
  await visit(t, pair, port);
  await pair.host.line(/"level":20,.*connection closed/);
});
