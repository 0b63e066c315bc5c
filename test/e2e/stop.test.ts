import { once } from 'node:events';
import type net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { freePort } from '../fixtures/free-ports.js';
import { startServer } from '../fixtures/programs.js';
import type { Observer } from '../protocol/fixtures/observer.js';
import { connect, Pair } from './fixtures/pair.js';

interface Transfer {
  pair: Pair;
  port: number;
  client: Observer;
  /** The server's end: half of the answer is sent. */
  server: net.Socket;
}

async function startTransfer(t: Test): Promise<Transfer> {
  let accept: (socket: net.Socket) => void = () => {};
  const accepted = new Promise<net.Socket>((resolve) => {
    accept = resolve;
  });
  const guestPort = await startServer(t, (socket) => {
    socket.write('the first half');
    accept(socket);
  });
  const port = await freePort();
  const pair = await Pair.start(t, `${port}:${guestPort}`);
  const client = connect(t, port);
  await client.until(() => client.bytes > 0);
  return { pair, port, client, server: await accepted };
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(
    `after ${signal} the host takes no new clients, finishes what is in flight, and exits 0`,
    async (t) => {
      const { pair, port, client, server } = await startTransfer(t);
      pair.host.child.kill(signal);
      // The guest is told when nothing is listened on any more.
      await pair.guest.line(/takes no new streams/);
      t.equal(await connect(t, port).outcome(), 'ECONNREFUSED');
      server.end(' and the second half');
      t.equal(await client.outcome(), 'end');
      t.equal(client.bytes, 34);
      client.socket.end();
      t.equal(await pair.host.exit(), 0);
    },
  );
}

t.test('a second signal ends the host at once, and the client is reset', async (t) => {
  const { pair, client } = await startTransfer(t);
  pair.host.child.kill('SIGTERM');
  await pair.guest.line(/takes no new streams/);
  pair.host.child.kill('SIGTERM');
  t.equal(await pair.host.exit(), 128 + 15);
  t.equal(await client.outcome(), 'ECONNRESET');
});

t.test('connections in which nothing is under way are reset, and are not waited for', async (t) => {
  for (const half of ['host', 'guest'] as const) {
    const guestPort = await startServer(t, (socket) => socket.on('data', () => socket.write('the answer')));
    const pair = await Pair.start(t, `0:${guestPort}`);
    const client = await pair.connect(guestPort);
    client.socket.write('a request');
    await client.until(() => client.bytes > 0);
    const silent = await pair.connect(guestPort);
    await once(silent.socket, 'connect');
    t.equal(await pair[half].stop('SIGTERM'), 0);
    t.equal(await client.outcome(), 'ECONNRESET');
    t.equal(await silent.outcome(), 'ECONNRESET');
    t.equal(pair[half].count(/waiting until connections have finished/), 0, half);
  }
});

t.test('a request that waits for its answer is waited for, and whoever stops the host is told', async (t) => {
  let asked = (_socket: net.Socket): void => {};
  const request = new Promise<net.Socket>((resolve) => {
    asked = resolve;
  });
  const guestPort = await startServer(t, (socket) => void socket.on('data', () => asked(socket)));
  const pair = await Pair.start(t, `0:${guestPort}`);
  const client = await pair.connect(guestPort);
  client.socket.write('a request');
  const server = await request;
  pair.host.child.kill('SIGINT');
  await pair.host.line(
    /waiting until connections have finished \(1 in use\), for at most 10 s; a second signal/,
  );
  server.end('the answer');
  t.equal(await client.outcome(), 'end');
  t.equal(client.bytes, 10);
  client.socket.end();
  t.equal(await pair.host.exit(), 0);
});

t.test('a second signal ends the guest at once, too, and its server is reset', async (t) => {
  const { pair, client, server } = await startTransfer(t);
  const gone = new Promise((resolve) => server.on('close', resolve).on('error', resolve));
  pair.guest.child.kill('SIGTERM');
  await pair.host.line(/takes no new streams/);
  pair.guest.child.kill('SIGTERM');
  t.equal(await pair.guest.exit(), 128 + 15);
  t.match(await gone, { code: 'ECONNRESET' });
  t.equal(await client.outcome(), 'ECONNRESET');
});

t.test('after SIGTERM the guest finishes what is in flight, too', async (t) => {
  const { pair, client, server } = await startTransfer(t);
  pair.guest.child.kill('SIGTERM');
  await pair.host.line(/takes no new streams/);
  server.end(' and the second half');
  t.equal(await client.outcome(), 'end');
  t.equal(client.bytes, 34);
  client.socket.end();
  t.equal(await pair.guest.exit(), 0);
});

t.test('programs that serve nobody stop at once', async (t) => {
  const pair = await Pair.start(t);
  t.equal(await pair.guest.stop('SIGTERM'), 0);
  await pair.host.line(/no channel/);
  t.equal(await pair.host.stop('SIGHUP'), 0);
});

t.test('forwards exposed at run time are back after a restart', async (t) => {
  const guestPort = await startServer(t, (socket) => socket.end('hello'));
  const pair = new Pair(t);
  const state = ['--state', join(pair.folder, 'state.json')];
  pair.startHost(...state);
  await pair.host.line(/waiting for the channel/);
  const port = await freePort();
  const { code, lines } = await whenControlled(pair, 'expose', `${port}:${guestPort}`);
  t.equal(code, 0, lines.join('\n'));
  t.match(lines.join(), `localhost:${port}`);
  t.equal(await pair.host.stop('SIGTERM'), 0);
  t.equal(await connect(t, port).outcome(), 'ECONNREFUSED');

  pair.startHost(...state);
  pair.startGuest();
  t.equal(await pair.port(guestPort), port);
  const client = connect(t, port);
  t.equal(await client.outcome(), 'end');

  await pair.host.stop('SIGKILL');
  pair.startHost(...state);
  t.equal(await pair.port(guestPort), port, 'not even a crash loses it');
  const next = connect(t, port);
  await once(next.socket, 'connect');
  t.equal(await next.outcome(), 'end');
});

/** A host without forwards prints nothing when its control socket is there: it is asked until it answers. */
async function whenControlled(pair: Pair, ...args: string[]): ReturnType<Pair['run']> {
  for (;;) {
    const result = await pair.run(...args);
    if (!result.lines.some((line) => line.includes('no portferry host answers'))) return result;
  }
}
