import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { freePort, freePorts } from '../fixtures/free-ports.js';
import { WITHOUT_IPV6 } from '../fixtures/ipv6.js';
import { startPortferry, startServer } from '../fixtures/programs.js';
import { Observer } from '../protocol/fixtures/observer.js';
import { connect, Pair } from './fixtures/pair.js';

const serveHello = (t: Test): Promise<number> => startServer(t, (socket) => socket.end('hello'));

t.test('no host address means 127.0.0.1 and ::1', async (t) => {
  const guestPort = await serveHello(t);
  const pair = await Pair.start(t, `0:${guestPort}`);
  const port = await pair.port(guestPort);
  t.equal(await connect(t, port).outcome(), 'end');
  if (WITHOUT_IPV6) t.comment(`::1 was not tried: ${WITHOUT_IPV6}`);
  else t.equal(await connect(t, port, '::1').outcome(), 'end');
});

t.test('0.0.0.0 is IPv4 only, and [::] IPv6 only', { skip: WITHOUT_IPV6 }, async (t) => {
  const four = await serveHello(t);
  const six = await startServer(t, (socket) => socket.resetAndDestroy());
  const port = await freePort();
  await Pair.start(t, `0.0.0.0:${port}:${four}`, `[::]:${port}:${six}`);
  t.equal(await connect(t, port).outcome(), 'end');
  t.equal(await connect(t, port, '::1').outcome(), 'ECONNRESET');
});

t.test('a destination may be an IPv6 address', { skip: WITHOUT_IPV6 }, async (t) => {
  const server = net.createServer((socket) => socket.on('error', () => {}).end('hello')).listen(0, '::1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const pair = await Pair.start(t, `127.0.0.1:0:[::1]:${port}`);
  t.equal(await (await pair.connect(port)).outcome(), 'end');
});

t.test('unix sockets are forwarded to unix sockets', async (t) => {
  const pair = new Pair(t);
  const [there, here] = [join(pair.folder, 'there.sock'), join(pair.folder, 'here.sock')];
  const server = net.createServer((socket) => socket.end('hello')).listen(there);
  t.teardown(() => server.close());
  await once(server, 'listening');
  pair.startHost('--forward', `unix:${here}:${there}`);
  pair.startGuest();
  await pair.host.line(/here\.sock → .*there\.sock$/);
  const client = new Observer(net.connect(here));
  t.equal(await client.outcome(), 'end');
  t.equal(client.bytes, 5);
});

t.test('forwards come and go while the host runs', async (t) => {
  const guestPort = await serveHello(t);
  const pair = await Pair.start(t, '127.0.0.1:0:1');
  const port = await freePort();
  t.same(await pair.run('expose', `127.0.0.1:${port}:${guestPort}`), {
    code: 0,
    lines: [`tcp 127.0.0.1:${port} → tcp 127.0.0.1:${guestPort}`],
  });
  t.equal(await connect(t, port).outcome(), 'end');
  t.equal((await pair.run('unexpose', `127.0.0.1:${port}`)).code, 0);
  t.equal(await connect(t, port).outcome(), 'ECONNREFUSED');
  t.same(await pair.run('unexpose', `127.0.0.1:${port}`), {
    code: 1,
    lines: [`portferry: nothing is forwarded from 127.0.0.1:${port}`],
  });
});

t.test('a port that is taken is an error that names the address and who holds it', async (t) => {
  const taken = await serveHello(t);
  const pair = await Pair.start(t, '127.0.0.1:0:1');
  const { code, lines } = await pair.run('expose', `${taken}:80`);
  t.equal(code, 1);
  t.equal(lines.length, 1);
  t.match(
    lines[0],
    new RegExp(`^portferry: cannot listen on 127\\.0\\.0\\.1:${taken}: .*in use.*pid ${process.pid}`),
  );

  const starting = startPortferry(
    t,
    'host',
    '--listen',
    `unix:${join(pair.folder, 'c')}`,
    '--forward',
    `${taken}:80`,
  );
  t.equal(await starting.exit(), 1);
  t.ok(starting.lines.at(-1)?.startsWith('portferry: cannot listen on 127.0.0.1:'), starting.describe());
});

t.test('of a range all ports are exposed, or none', async (t) => {
  const first = await freePorts(3);
  const blocker = net.createServer().listen(first + 2, '127.0.0.1');
  t.teardown(() => blocker.close());
  await once(blocker, 'listening');
  const pair = await Pair.start(t, '127.0.0.1:0:1');
  const { code, lines } = await pair.run('expose', `127.0.0.1:${first}-${first + 2}:9000-9002`);
  t.equal(code, 1);
  t.equal(lines.length, 1, lines.join('\n'));
  const { lines: listed } = await pair.run('list', '--json');
  t.equal(JSON.parse(listed.join('\n')).length, 1);
  t.notOk(pair.host.lines.some((line) => line.includes(`listening on 127.0.0.1:${first}`)));
});

t.test('a guest dials only what --allow-dial allows', async (t) => {
  const allowed = await serveHello(t);
  const refused = await serveHello(t);
  const pair = new Pair(t);
  pair.startHost('--forward', `0:${allowed}`, '--forward', `0:${refused}`);
  pair.startGuest('--allow-dial', `127.0.0.1:${allowed}/tcp`);
  await pair.up();
  t.equal(await (await pair.connect(allowed)).outcome(), 'end');
  t.equal(await (await pair.connect(refused)).outcome(), 'ECONNRESET');
  await pair.host.line(/the guest does not allow/);
  t.match(pair.warnings, [{ errno: 'EACCES', destination: `tcp 127.0.0.1:${refused}` }]);
  await pair.guest.line(/no rule of --allow-dial allows it/);
});

t.test("the guest takes vpnkit-forwarder's flags", async (t) => {
  const guestPort = await serveHello(t);
  const pair = new Pair(t);
  const control = join(pair.folder, 'guest-control.sock');
  pair.startGuest('-data-listen', join(pair.folder, 'channel.sock'), '-control-listen', control, '-debug');
  await pair.guest.line(/waiting for the channel/);
  pair.startHost('--connect', pair.channel, '--forward', `0:${guestPort}`);
  await pair.up();
  const client = await pair.connect(guestPort);
  t.equal(await client.outcome(), 'end');
  client.socket.end();
  await pair.guest.line(/"level":20.*connection closed/);
  t.equal(await pair.guest.stop('SIGTERM'), 0);

  pair.host.child.kill('SIGTERM');
  await pair.host.exit();
  const other = await freePort();
  pair.startHost('--forward', `0:${other}`);
  await pair.host.line(/waiting for the channel/);
  pair.startGuest('-data-connect', join(pair.folder, 'channel.sock'));
  await pair.up();
});
