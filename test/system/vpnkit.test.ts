import net from 'node:net';
import t, { type Test } from 'tap';
import { freePort } from '../fixtures/free-ports.js';
import { requireProgram, run, startServer } from '../fixtures/programs.js';
import { startEcho, UdpClient } from '../fixtures/udp-echo.js';
import { Pairing, type PairingOptions } from '../interop/fixtures/pairing.js';
import { checksumOf, Observer, pattern } from '../protocol/fixtures/observer.js';
import { Signal } from '../protocol/fixtures/signal.js';

const MEBIBYTE = 1024 * 1024;

/** What Docker's forwarder says when it gives its multiplexer up. */
const VPNKIT_GAVE_UP = /Multiplexer main loop failed|multiplexer is offline|multiplexer has shutdown|panic/;

const PAIRINGS = [
  ['portferry host listens, vpnkit guest connects', { portferry: 'host', dialled: false }],
  ['portferry host connects, vpnkit guest listens', { portferry: 'host', dialled: true }],
  ['portferry guest listens, vpnkit host connects', { portferry: 'guest', dialled: false }],
  ['portferry guest connects, vpnkit host listens', { portferry: 'guest', dialled: true }],
] as const;

for (const [name, roles] of PAIRINGS)
  t.test(name, async (t) => {
    // No registry has this program: a test that needs it may always be skipped.
    const forwarder = requireProgram(t, 'vpnkit-forwarder', true);
    if (forwarder === undefined) return;
    const options = { forwarder, ...roles };
    const pairing = await Pairing.start(t, options, await freePort());

    await t.test('200 requests at once', (t) => manyRequests(t, pairing));
    await t.test('half-closes, from both sides', (t) => halfCloses(t, pairing));
    await t.test('a refused dial', (t) => refusedDial(t, pairing, options));
    await t.test('a thousand short connections', (t) => shortConnections(t, pairing));
    await t.test('clients and servers that reset under load', (t) => resets(t, pairing));
    if (options.portferry === 'host') await t.test("vpnkit's own clients", (t) => vpnkitClients(t, pairing));
    t.strictSame(await pairing.settled(), [], 'nothing that a plain peer cannot stand');
    await t.test('UDP: every size, many clients, and a server that comes late', (t) =>
      udp(t, pairing, options),
    );
    t.equal(pairing.vpnkit?.count(VPNKIT_GAVE_UP), 0, 'one channel carried all of it');
    if (options.portferry === 'host' && !options.dialled)
      await t.test('vpnkit is frozen, and another one comes', (t) => frozen(t, pairing));
    await t.test('vpnkit is killed in the middle', (t) => killed(t, pairing, options));
  });

/** An HTTP-like exchange whose answer depends on the request. */
async function manyRequests(t: Test, pairing: Pairing): Promise<void> {
  const body = pattern(64 * 1024);
  const port = await startServer(t, (socket) => {
    socket.once('data', (request) => socket.end(Buffer.concat([request, body])));
  });
  const exposed = await pairing.expose(port);
  const right = await Promise.all(
    Array.from({ length: 200 }, async (_, index) => {
      const request = Buffer.from(`request ${index}`);
      const client = connect(exposed);
      client.socket.write(request);
      const checksum = await client.checksum();
      client.socket.end();
      return checksum === checksumOf(Buffer.concat([request, body]));
    }),
  );
  t.equal(right.filter(Boolean).length, 200);
}

async function halfCloses(t: Test, pairing: Pairing): Promise<void> {
  const bulk = pattern(8 * MEBIBYTE);
  const answering = await startServer(t, (socket) => {
    const server = new Observer(socket);
    socket.on('end', () => socket.end(server.bytes === 7 ? bulk : 'the request was cut'));
  });
  const asking = connect(await pairing.expose(answering));
  asking.socket.end('request');
  t.equal(await asking.checksum(), checksumOf(bulk), 'the client ends first, and reads a long answer');

  const servers: Observer[] = [];
  const greeting = await startServer(t, (socket) => {
    servers.push(new Observer(socket));
    socket.end('bye');
  });
  const uploading = connect(await pairing.expose(greeting));
  t.equal(await uploading.checksum(), checksumOf(Buffer.from('bye')));
  uploading.socket.end(bulk);
  t.equal(await servers[0]?.checksum(), checksumOf(bulk), 'the server ends first, and reads a long upload');
}

async function refusedDial(t: Test, pairing: Pairing, { portferry }: Roles): Promise<void> {
  const client = connect(await pairing.expose(pairing.deadPort));
  const destination = `tcp 127.0.0.1:${pairing.deadPort}`;
  if (portferry === 'host') {
    t.equal(await client.outcome(), 'ECONNRESET');
    const warning = new RegExp(`"level":40.*"forward":"tcp .*"destination":"${destination}".*client reset`);
    await pairing.portferry?.line(warning);
    t.equal(pairing.portferry?.count(warning), 1, 'one line says so');
  } else {
    t.equal(await client.outcome(), 'end', 'all that a plain host can make of it');
    client.socket.end();
    await pairing.portferry?.line(new RegExp(`"destination":"${destination}","errno":"ECONNREFUSED"`));
  }
}

async function shortConnections(t: Test, pairing: Pairing): Promise<void> {
  const serverFirst = await pairing.expose(await startServer(t, (socket) => socket.end('hello').resume()));
  const clientFirst = await pairing.expose(await startServer(t, (socket) => socket.pipe(socket)));
  let right = 0;
  for (let round = 0; round < 20; round++)
    await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const client = connect(index % 2 ? serverFirst : clientFirst);
        if (index % 2 === 0) client.socket.end('hello');
        const checksum = await client.checksum();
        client.socket.end();
        if (checksum === checksumOf(Buffer.from('hello'))) right++;
      }),
    );
  t.equal(right, 1000);
}

async function resets(t: Test, pairing: Pairing): Promise<void> {
  const signal = new Signal();
  let serversOpen = 0;
  const source = await pairing.expose(
    await startServer(t, (socket) => {
      serversOpen++;
      socket.resume().on('close', () => {
        serversOpen--;
        signal.wake();
      });
      pump(socket);
    }),
  );
  const resetting = await pairing.expose(
    await startServer(t, (socket) => {
      const server = new Observer(socket);
      void server.until(() => server.bytes > 100_000).then(() => socket.resetAndDestroy());
    }),
  );
  const load = manyRequests(t, pairing);
  await Promise.all([
    ...Array.from({ length: 40 }, async (_, index) => {
      const client = connect(source);
      await client.until(() => client.bytes > index * 20_000);
      client.socket.resetAndDestroy();
    }),
    ...Array.from({ length: 40 }, async () => {
      const client = connect(resetting);
      pump(client.socket);
      await client.outcome();
      client.socket.destroy();
    }),
    load,
  ]);
  await signal.until(() => serversOpen === 0);
  t.strictSame(await pairing.settled(), [], 'no stream and no server is left with a client that is gone');
}

async function udp(t: Test, pairing: Pairing, { portferry }: Roles): Promise<void> {
  const echo = await startEcho(t);
  const exposed = await pairing.expose(echo.port, 'udp');
  const client = await UdpClient.connect(t, exposed);
  const sizes = [1, 65_507, 1472, 65_507];
  // A vpnkit host carries no empty datagram, though its guest does.
  if (portferry === 'host') sizes.unshift(0);
  for (const [index, size] of sizes.entries()) {
    const payload = pattern(size);
    client.send(payload);
    await client.answers(index + 1);
    t.ok(client.received[index]?.equals(payload), `${size} bytes came back`);
    t.ok(echo.received[index]?.equals(payload), `${size} bytes came to the server`);
  }
  const clients = await Promise.all(Array.from({ length: 100 }, () => UdpClient.connect(t, exposed)));
  for (const [index, each] of clients.entries()) each.send(`client ${index}`);
  await Promise.all(clients.map((each, index) => each.answers(1, `client ${index}`)));
  const right = clients.filter(({ received }, index) =>
    received.every((payload) => String(payload) === `client ${index}`),
  );
  t.equal(right.length, clients.length);

  const latePort = await freePort();
  const late = await UdpClient.connect(t, await pairing.expose(latePort, 'udp'));
  late.send('nobody there');
  await startEcho(t, '127.0.0.1', latePort);
  await late.answers(1, 'hello');
  t.match(late.received.map(String), [/hello|nobody there/]);

  for (const port of [echo.port, latePort]) await pairing.unexpose(port, 'udp');
  // A vpnkit host keeps the flows of a forward that it has removed, for a minute and a half.
  t.strictSame(portferry === 'host' ? await pairing.settled() : pairing.violations, []);
}

async function vpnkitClients(t: Test, pairing: Pairing): Promise<void> {
  const list = requireProgram(t, 'vpnkit-list-ports', true);
  if (list === undefined) return;
  const port = await startServer(t, (socket) => socket.end());
  const exposed = await pairing.expose(port);
  const { outcome, output } = await run(t, list, '-control', pairing.control);
  t.equal(outcome, 0);
  t.match(output, `tcp forward from 127.0.0.1:${exposed} to 127.0.0.1:${port}`);
}

/** A second one is turned away while the first is alive, however idle, and has its place when that is frozen. */
async function frozen(t: Test, pairing: Pairing): Promise<void> {
  const first = pairing.vpnkit;
  const channels = pairing.portferryUps;
  const second = pairing.startVpnkit();
  await pairing.portferry?.line(/a second peer wanted to be the channel.*for that one answers/);
  t.strictSame(pairing.violations, []);
  await manyRequests(t, pairing);
  t.equal(pairing.portferryUps, channels, 'the first has kept its place');
  first?.child.kill('SIGSTOP');
  await pairing.connected(channels + 1);
  t.equal(
    pairing.portferry?.count(/no channel: the peer gave no sign of life for 1\.5 s while another one waited/),
    1,
  );
  await manyRequests(t, pairing);
  await first?.stop('SIGKILL');
  t.equal(pairing.vpnkit, second);
}

async function killed(t: Test, pairing: Pairing, { portferry }: Roles): Promise<void> {
  const servers: Observer[] = [];
  const port = await startServer(t, (socket) => {
    servers.push(new Observer(socket));
    socket.write('hello');
  });
  const client = connect(await pairing.expose(port));
  client.socket.write('hello');
  await client.until(() => client.bytes === 5);
  const [server] = servers;
  await server?.until(() => server.bytes === 5);
  await pairing.vpnkit?.stop('SIGKILL');
  // What the killed forwarder held is the kernel's to end; what portferry holds must not look complete.
  const ours = portferry === 'host' ? client : server;
  t.equal(await ours?.outcome(), 'ECONNRESET');
  client.socket.destroy();
  const channels = pairing.portferryUps;
  pairing.startVpnkit();
  await pairing.connected(channels + 1);
  await manyRequests(t, pairing);
}

type Roles = Pick<PairingOptions, 'portferry'>;

function connect(port: number): Observer {
  return new Observer(net.connect({ host: '127.0.0.1', port, allowHalfOpen: true }));
}

/** Writes as long as the socket is there. */
function pump(socket: net.Socket): void {
  const chunk = Buffer.alloc(64 * 1024);
  const write = (): void => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on('drain', write);
  write();
}
