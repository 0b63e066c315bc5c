import { once } from 'node:events';
import type net from 'node:net';
import t from 'tap';
import { startServer } from '../fixtures/programs.js';
import { checksumOf, Observer, pattern } from '../protocol/fixtures/observer.js';
import { turnsUntil } from '../protocol/fixtures/signal.js';
import { connect, Pair } from './fixtures/pair.js';

/** How often a program is killed. */
const TIMES = 3;

/** A program is killed when so much has come through it, and more is on its way. */
const MUCH = 1024 * 1024;

/** More than one end's receive window, so that some of it stays in the sender's kernel while nobody reads. */
const ANSWER = pattern(400 * 1024);

const BLOCK = Buffer.alloc(64 * 1024, 'x');

/** Writes without end, as fast as it is read. */
function pour(socket: net.Socket): void {
  const more = (): void => {
    while (socket.writable && socket.write(BLOCK));
  };
  socket.on('drain', more);
  more();
}

async function endAll({ host, guest }: Pair): Promise<void> {
  await Promise.all([host.stop('SIGKILL'), guest.stop('SIGKILL')]);
}

for (const program of ['host', 'guest'] as const) {
  t.test(`kill -9 of the ${program} in mid-download: the client sees a reset`, async (t) => {
    const port = await startServer(t, pour);
    for (let count = 0; count < TIMES; count++) {
      const pair = await Pair.start(t, `127.0.0.1:0:${port}`);
      const client = await pair.connect(port);
      await client.until(() => client.bytes > MUCH);
      await pair[program].stop('SIGKILL');
      t.equal(await client.outcome(), 'ECONNRESET');
      await endAll(pair);
    }
  });

  t.test(`kill -9 of the ${program} in mid-upload: the server sees a reset`, async (t) => {
    const servers: Observer[] = [];
    const port = await startServer(t, (socket) => servers.push(new Observer(socket)));
    for (let count = 0; count < TIMES; count++) {
      const pair = await Pair.start(t, `127.0.0.1:0:${port}`);
      const client = await pair.connect(port);
      pour(client.socket);
      await turnsUntil(() => servers.length > count);
      const server = servers[count] as Observer;
      await server.until(() => server.bytes > MUCH);
      await pair[program].stop('SIGKILL');
      t.equal(await server.outcome(), 'ECONNRESET');
      await endAll(pair);
    }
  });

  t.test(`kill -9 of the ${program} after half-closes: what goes on is cut, and looks so`, async (t) => {
    const servers: Observer[] = [];
    const port = await startServer(t, (socket) => {
      servers.push(new Observer(socket));
      socket.write('half of it');
    });
    const pair = await Pair.start(t, `127.0.0.1:0:${port}`);
    const client = await pair.connect(port);
    client.socket.end('question');
    await client.until(() => client.bytes > 0);
    const server = servers[0] as Observer;
    await server.until(() => server.ended);
    await pair[program].stop('SIGKILL');
    t.equal(await client.outcome(), 'ECONNRESET');
  });
}

for (const first of ['client', 'server'] as const)
  t.test(`many short connections that end in good order lose nothing, the ${first} first`, async (t) => {
    const port = await startServer(t, (socket) => {
      if (first === 'server') socket.resume().end(ANSWER);
      else socket.on('end', () => socket.end(ANSWER)).resume();
    });
    const pair = await Pair.start(t, `127.0.0.1:0:${port}`);
    const hostPort = await pair.port(port);
    const expected = checksumOf(ANSWER);
    const exchange = async (slow: boolean): Promise<void> => {
      const client = connect(t, hostPort);
      if (slow) client.socket.pause();
      client.socket.end('question');
      // Both ends are done by then as far as they can be: the rest lies in the kernel.
      if (slow) await once(client.socket, 'finish');
      client.socket.resume();
      if ((await client.checksum()) !== expected) t.fail(`cut after ${client.bytes} bytes`);
    };
    for (let round = 0; round < 20; round++)
      await Promise.all(Array.from({ length: 16 }, (_, index) => exchange(index % 2 === 0)));
    t.same(pair.warnings, []);
  });

t.test('what a slow reader has not read when everybody else is done arrives all the same', async (t) => {
  const answer = ANSWER.subarray(0, 150 * 1024);
  const port = await startServer(t, (socket) => socket.on('end', () => socket.end(answer)).resume());
  const pair = await Pair.start(t, `127.0.0.1:0:${port}`);
  const clients = await Promise.all(Array.from({ length: 20 }, () => pair.connect(port)));
  for (const { socket } of clients) socket.pause().end('question');
  // The host has closed its sockets: the answers lie in the kernel.
  for (let active = -1; active !== 0; ) {
    const { lines } = await pair.run('list', '--json');
    active = JSON.parse(lines.join('\n'))[0].counters.active;
  }
  await pair.host.stop('SIGKILL');
  for (const client of clients) {
    client.socket.resume();
    t.equal(await client.checksum(), checksumOf(answer));
  }
});
