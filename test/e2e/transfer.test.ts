import { readFileSync } from 'node:fs';
import t from 'tap';
import { type Program, startServer } from '../fixtures/programs.js';
import { checksumOf, Observer, pattern } from '../protocol/fixtures/observer.js';
import { Signal } from '../protocol/fixtures/signal.js';
import { Pair } from './fixtures/pair.js';

const MIB = 1024 * 1024;

t.test('a client that ends its direction first gets a long answer', async (t) => {
  const answer = pattern(16 * MIB);
  const question = pattern(3 * MIB);
  let received = '';
  const port = await startServer(t, async (socket) => {
    received = await new Observer(socket).checksum();
    socket.end(answer);
  });
  const pair = await Pair.start(t, `0:${port}`);
  const client = await pair.connect(port);
  client.socket.end(question);
  t.equal(await client.checksum(), checksumOf(answer));
  t.equal(received, checksumOf(question));
});

t.test('a server that ends its direction first gets a long question', async (t) => {
  const question = pattern(16 * MIB);
  let receive: (checksum: string) => void = () => {};
  const received = new Promise<string>((resolve) => {
    receive = resolve;
  });
  const port = await startServer(t, async (socket) => {
    socket.end('go on');
    receive(await new Observer(socket).checksum());
  });
  const pair = await Pair.start(t, `0:${port}`);
  const client = await pair.connect(port);
  await client.until(() => client.ended);
  t.equal(client.bytes, 5);
  client.socket.end(question);
  t.equal(await received, checksumOf(question));
});

t.test('a single byte passes in both directions', async (t) => {
  const port = await startServer(t, (socket) => socket.on('data', (chunk) => socket.end(chunk)));
  const pair = await Pair.start(t, `0:${port}`);
  const client = await pair.connect(port);
  client.socket.write(Buffer.from([0xa5]));
  t.equal(await client.checksum(), checksumOf(Buffer.from([0xa5])));
});

t.test('300 connections at once are served', async (t) => {
  const port = await startServer(t, (socket) => void socket.pipe(socket));
  const pair = await Pair.start(t, `0:${port}`);
  const clients = await Promise.all(Array.from({ length: 300 }, () => pair.connect(port)));
  for (const [number, client] of clients.entries()) client.socket.write(`client ${number}`);
  await Promise.all(
    clients.map((client, number) => client.until(() => client.bytes >= `client ${number}`.length)),
  );
  for (const client of clients) client.socket.end();
  t.same(new Set(await Promise.all(clients.map((client) => client.outcome()))), new Set(['end']));
});

t.test('a reader that stops stops its own stream only, and memory stays bounded', async (t) => {
  const chunk = pattern(MIB);
  const stalledBytes = 256 * MIB;
  const sent = new Signal();
  let unsent = (): number => stalledBytes;
  const port = await startServer(t, (socket) => {
    socket.once('data', (first) => {
      const stalls = first.toString() === 'stall';
      // The same memory each time: what waits here costs this process nothing.
      const count = (stalls ? stalledBytes : 128 * MIB) / MIB;
      for (let sending = 0; sending < count; sending++) socket.write(chunk);
      socket.end();
      if (stalls) unsent = () => socket.writableLength;
      sent.wake();
    });
  });
  const pair = await Pair.start(t, `0:${port}`);
  const stalled = await pair.connect(port);
  stalled.socket.write('stall');
  await stalled.until(() => stalled.bytes > 0);
  stalled.socket.pause();

  const other = await pair.connect(port);
  other.socket.write('go on');
  await other.until(() => other.ended);
  t.equal(other.bytes, 128 * MIB, 'the other stream goes on');
  // The windows are 4 MiB, and the system keeps a few more for each of the sockets on the way.
  t.ok(unsent() > stalledBytes - 64 * MIB, `${Math.round(unsent() / MIB)} MiB wait in the server`);
  for (const program of [pair.host, pair.guest]) {
    const resident = residentMib(program);
    t.ok(resident < 220, `${resident} MiB of memory`);
  }
  stalled.socket.resume();
  await stalled.until(() => stalled.ended);
  t.equal(stalled.bytes, stalledBytes, 'and when it reads again, nothing is missing');
});

function residentMib({ child }: Program): number {
  if (process.platform !== 'linux') return 0;
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}
