import t from 'tap';
import { freePort } from '../fixtures/free-ports.js';
import { startServer } from '../fixtures/programs.js';
import { Pair } from './fixtures/pair.js';

t.test('a dial that the guest cannot make resets the client, and one line says why', async (t) => {
  const port = await freePort();
  const pair = await Pair.start(t, `0:${port}`);
  const client = await pair.connect(port);
  t.equal(await client.outcome(), 'ECONNRESET');
  await pair.host.line(/could not reach/);
  const hostPort = await pair.port(port);
  t.match(pair.warnings, [
    {
      forward: `tcp localhost:${hostPort}`,
      destination: `tcp 127.0.0.1:${port}`,
      errno: 'ECONNREFUSED',
      msg: /^client reset: the guest could not reach/,
    },
  ]);
  t.equal(pair.warnings.length, 1);
});

t.test('without a guest clients are held, and then reset, with one warning for all of them', async (t) => {
  const pair = new Pair(t);
  pair.startHost('--forward', '0:4711', '--hold', '0.3');
  const began = performance.now();
  const clients = await Promise.all(Array.from({ length: 20 }, () => pair.connect(4711)));
  for (const client of clients) t.equal(await client.outcome(), 'ECONNRESET');
  t.ok(performance.now() - began >= 300, 'they were held');
  t.match(pair.warnings, [{ msg: /^clients are reset: no channel on unix:.* for 0\.3 s/ }]);
  t.equal(pair.warnings.length, 1);
});

t.test('a client is served when the guest comes while it is held', async (t) => {
  const port = await startServer(t, (socket) => socket.end('worth the wait'));
  const pair = new Pair(t);
  pair.startHost('--forward', `0:${port}`, '--hold', '60');
  const client = await pair.connect(port);
  client.socket.write('early');
  pair.startGuest();
  t.equal(await client.outcome(), 'end');
  t.equal(client.bytes, 14);
});

t.test('a guest that is killed in mid-transfer resets the client: nothing looks complete', async (t) => {
  const port = await startServer(t, (socket) => void socket.write('the first half'));
  const pair = await Pair.start(t, `0:${port}`);
  const client = await pair.connect(port);
  await client.until(() => client.bytes > 0);
  pair.guest.child.kill('SIGKILL');
  t.equal(await client.outcome(), 'ECONNRESET');
  t.notOk(client.ended);
});

t.test('after the guest has restarted, clients are served again', async (t) => {
  const port = await startServer(t, (socket) => socket.end('hello'));
  const pair = new Pair(t);
  const listen = ['--listen', pair.channel];
  pair.startGuest(...listen);
  await pair.guest.line(/waiting for the channel/);
  pair.startHost('--connect', pair.channel, '--forward', `0:${port}`);
  await pair.up();
  t.equal(await (await pair.connect(port)).outcome(), 'end');

  await pair.guest.stop('SIGKILL');
  await pair.host.line(/no channel/);
  pair.startGuest(...listen);
  await pair.guest.line(/waiting for the channel/);
  const began = performance.now();
  await pair.up(2);
  // The longest pause between two attempts is a second; the rest is for a busy machine.
  t.ok(performance.now() - began < 3000, 'the host connects soon');
  t.equal(await (await pair.connect(port)).outcome(), 'end');
  t.equal(pair.warnings.length, 1, 'an outage is logged once');
});

t.test('a server that resets its connection resets the client', async (t) => {
  const port = await startServer(t, (socket) => socket.on('data', () => socket.resetAndDestroy()));
  const pair = await Pair.start(t, `0:${port}`);
  const client = await pair.connect(port);
  client.socket.write('anything');
  t.equal(await client.outcome(), 'ECONNRESET');
  t.same(pair.warnings, [], 'that is nothing that portferry could not do');
});

t.test('a client that resets its connection resets it at the server', async (t) => {
  let outcome: (code: unknown) => void = () => {};
  const failed = new Promise((resolve) => {
    outcome = resolve;
  });
  const port = await startServer(t, (socket) => {
    socket.on('error', (error: NodeJS.ErrnoException) => outcome(error.code));
    socket.on('end', () => outcome('end'));
    socket.write('go on');
  });
  const pair = await Pair.start(t, `0:${port}`);
  const client = await pair.connect(port);
  await client.until(() => client.bytes > 0);
  client.socket.resetAndDestroy();
  t.equal(await failed, 'ECONNRESET');
});
