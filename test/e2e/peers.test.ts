import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startPortferryGuest, startServer } from '../fixtures/programs.js';
import { Observer } from '../protocol/fixtures/observer.js';
import { Pair } from './fixtures/pair.js';

/** Of a peer without extensions. */
const PLAIN_HANDSHAKE = 'https://github.com/moby/vpnkit multiplexer protocol\n\0\0';

function intrude(t: Test, pair: Pair, bytes: string): Observer {
  const socket = net.connect(join(pair.folder, 'channel.sock'));
  t.teardown(() => socket.destroy());
  if (bytes !== '') socket.write(bytes);
  return new Observer(socket);
}

t.test('a second guest is turned away with a line, while the first goes on', async (t) => {
  const port = await startServer(t, (socket) => void socket.pipe(socket));
  const pair = await Pair.start(t, `0:${port}`);
  const client = await pair.connect(port);
  client.socket.write('before');
  await client.until(() => client.bytes === 6);

  const second = startPortferryGuest(t, '--connect', pair.channel);
  await second.line(/no channel/);
  await pair.host.line(/a second peer wanted to be the channel/);

  client.socket.end(' and after');
  t.equal(await client.outcome(), 'end');
  t.equal(client.bytes, 16);
});

t.test(
  'a peer that is no multiplexer is logged with its first bytes, and the next guest is served',
  async (t) => {
    const port = await startServer(t, (socket) => socket.end('hello'));
    const pair = new Pair(t);
    pair.startHost('--forward', `0:${port}`, '--hold', '60');
    await pair.host.line(/waiting for the channel/);
    const intruder = intrude(t, pair, 'SSH-2.0-OpenSSH_9.6\r\n');
    await intruder.until(() => intruder.closed);
    await pair.host.line(/it began with \\"SSH-2\.0-OpenSSH_9\.6/);
    t.match(pair.warnings, [{ code: 'NOT_A_MULTIPLEXER' }]);
    pair.startGuest();
    t.equal(await (await pair.connect(port)).outcome(), 'end');
  },
);

t.test('a peer that breaks the rules loses its channel, with a code, and the next is served', async (t) => {
  const port = await startServer(t, (socket) => socket.end('hello'));
  const pair = new Pair(t);
  pair.startHost('--forward', `0:${port}`, '--hold', '60');
  await pair.host.line(/waiting for the channel/);
  // A Data frame whose header claims to have 5 bytes.
  const intruder = intrude(t, pair, `${PLAIN_HANDSHAKE}\x05\0\x04\0\0\0\0\0\0\0\0`);
  await intruder.until(() => intruder.closed);
  await pair.host.line(/no channel/);
  t.match(pair.warnings, [{ code: /^[A-Z_]+$/ }]);
  pair.startGuest();
  t.equal(await (await pair.connect(port)).outcome(), 'end');
});

t.test('a frozen guest gives way to the next one that comes', async (t) => {
  const port = await startServer(t, (socket) => socket.end('hello'));
  const pair = await Pair.start(t, `0:${port}`);
  pair.guest.child.kill('SIGSTOP');
  const client = await pair.connect(port);
  await once(client.socket, 'connect');
  const began = performance.now();
  intrude(t, pair, PLAIN_HANDSHAKE);
  await pair.up(2);
  // By its heartbeat alone the host would not notice for six seconds; the rest is for a busy machine.
  t.ok(performance.now() - began < 3000, 'the host has looked at once');
  t.match(pair.warnings, [{ code: 'PEER_SILENT', msg: /another one waited for its place/ }]);
  t.equal(await client.outcome(), 'ECONNRESET', 'its streams are lost, and do not hang');
});

t.test('a frozen host gives way to the next one, too, where the guest listens', async (t) => {
  const pair = new Pair(t);
  pair.startGuest('--listen', pair.channel);
  await pair.guest.line(/waiting for the channel/);
  pair.startHost('--connect', pair.channel);
  await pair.up();
  await pair.guest.line(/the channel is up/);
  pair.host.child.kill('SIGSTOP');
  intrude(t, pair, PLAIN_HANDSHAKE);
  await pair.guest.until(() => pair.guest.count(/the channel is up/) === 2);
  t.equal(pair.guest.count(/no sign of life for 1\.5 s/), 1);
});
