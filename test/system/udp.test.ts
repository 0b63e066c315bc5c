import { userInfo } from 'node:os';
import t, { type Test } from 'tap';
import { ControlClient } from '../../host/control/client.js';
import type { ForwardReport } from '../../host/records/reports.js';
import { logLines, Pair } from '../e2e/fixtures/pair.js';
import { freePort } from '../fixtures/free-ports.js';
import { Program, requireProgram, run } from '../fixtures/programs.js';
import { startEcho, UdpClient } from '../fixtures/udp-echo.js';

const MAX_DATAGRAM_BYTES = 65_507;

/** Another loopback address: a forward and its destination can have the same port then, as iperf3 needs it. */
const OTHER_LOCALHOST = '127.0.0.2';

/** Bytes of which no part looks like another. */
function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + (at >> 8) * 17 + seed) & 0xff;
  return bytes;
}

/** The only forward of the host. It is asked without a program that has to start: a flow may be idle by then. */
async function forwardOf({ control }: Pair): Promise<ForwardReport> {
  const [forward] = await new ControlClient(control).forwards();
  if (forward) return forward;
  throw new Error('there is no forward');
}

/** Both programs, which say everything, and the host's port of the one forward: one that stays free after it. */
async function startVerbose(t: Test, guestPort: number, more = ''): Promise<{ pair: Pair; port: number }> {
  const pair = new Pair(t);
  const port = await freePort();
  pair.startHost('--forward', `127.0.0.1:${port}:${guestPort}/udp${more}`, '--log-level', 'debug');
  pair.startGuest('--log-level', 'debug');
  await pair.up();
  return { pair, port };
}

t.test('a DNS server answers real clients', async (t) => {
  const dnsmasq = requireProgram(t, 'dnsmasq');
  if (dnsmasq === undefined) return;
  const dig = requireProgram(t, 'dig');
  if (dig === undefined) return;
  const long = Array.from({ length: 12 }, (_, index) => `${index}`.repeat(100).slice(0, 100));
  const guestPort = await freePort();
  const server = Program.start(t, dnsmasq, [
    ...['--no-daemon', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--pid-file='],
    ...['--listen-address=127.0.0.1', '--bind-interfaces', `--port=${guestPort}`],
    ...[`--user=${userInfo().username}`, '--edns-packet-max=4096'],
    ...['--address=/www.example/192.0.2.7', `--txt-record=long.example,${long.join(',')}`],
  ]);
  await server.line(/started, version/);
  const pair = await Pair.start(t, `127.0.0.1:0:${guestPort}/udp`);
  const port = String(await pair.port(guestPort));
  // Each from an address of its own: dig shares its port (SO_REUSEPORT), so two could be one client to the kernel.
  const ask = (client: number, ...question: string[]) =>
    run(
      t,
      dig,
      ...['@127.0.0.1', '-p', port, '-b', `127.0.0.${client}`, ...question],
      ...['+short', '+notcp', '+ignore', '+bufsize=4096'],
    );
  const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => ask(index + 2, 'www.example')));
  t.ok(answers.every(({ outcome, output }) => outcome === 0 && output === '192.0.2.7'));
  const { output } = await ask(1, 'long.example', 'TXT');
  t.equal(output, long.map((text) => `"${text}"`).join(' '), 'an answer of more than 1200 bytes');
  t.match(await forwardOf(pair), { counters: { connections: 21, active: 21, dropped: 0 } });
  t.same(pair.warnings, []);
});

for (const [name, ...direction] of [['to the server'], ['to the client', '-R']] as const)
  t.test(`iperf3 sends datagrams ${name}`, async (t) => {
    const iperf = requireProgram(t, 'iperf3');
    if (iperf === undefined) return;
    const port = await freePort();
    const server = Program.start(t, iperf, ['-s', '-B', '127.0.0.1', '-p', String(port), '--forceflush']);
    await server.line(/Server listening on/);
    const spec = `${OTHER_LOCALHOST}:${port}:${port}`;
    const pair = await Pair.start(t, `${spec}/tcp`, `${spec}/udp`);
    const { outcome, output } = await run(
      t,
      iperf,
      ...['-c', OTHER_LOCALHOST, '-p', String(port), '-u', '-b', '20M', '-l', '1200', '-t', '2', '-J'],
      ...direction,
    );
    const report = JSON.parse(output) as {
      error?: string;
      end: { sum: { packets: number; lost_packets: number } };
    };
    t.equal(outcome, 0, report.error ?? '');
    const { packets, lost_packets: lost } = report.end.sum;
    t.ok(packets > 1000 && lost < packets / 4, `${lost} of ${packets} datagrams were lost`);
    t.same(pair.warnings, []);
  });

t.test('datagrams of every size pass in both directions as they were', async (t) => {
  const echo = await startEcho(t);
  const pair = await Pair.start(t, `127.0.0.1:0:${echo.port}/udp`);
  const client = await UdpClient.connect(t, await pair.port(echo.port));
  const sizes = [0, 1, MAX_DATAGRAM_BYTES, 0, MAX_DATAGRAM_BYTES, 1472];
  for (const [index, size] of sizes.entries()) {
    const sent = pattern(size, index);
    client.send(sent);
    await client.answers(index + 1);
    t.ok(client.received[index]?.equals(sent), `${size} bytes came back`);
    t.ok(echo.received[index]?.equals(sent), `${size} bytes came to the server`);
  }
  t.same(pair.warnings, []);
});

t.test('a server that comes later is reached by the flow that was refused', async (t) => {
  const guestPort = await freePort();
  const { pair, port } = await startVerbose(t, guestPort);
  const client = await UdpClient.connect(t, port);
  client.send('nobody there');
  await pair.guest.line(/nobody listens there|recvmsg ECONNREFUSED/);
  const echo = await startEcho(t, '127.0.0.1', guestPort);
  client.send('hello');
  await client.answers(1);
  t.same(client.received.map(String), ['hello']);
  t.same(echo.received.map(String), ['hello']);
  t.match(await forwardOf(pair), { counters: { connections: 1, active: 1, refused: 0, failed: 0 } });
});

t.test('a thousand clients at once get their own answers', async (t) => {
  const echo = await startEcho(t);
  const pair = await Pair.start(t, `127.0.0.1:0:${echo.port}/udp`);
  const port = await pair.port(echo.port);
  const clients = await Promise.all(Array.from({ length: 1000 }, () => UdpClient.connect(t, port)));
  for (const [index, client] of clients.entries()) client.send(`client ${index}`);
  // What the kernel has no room for is lost, as it is on any network: clients of UDP ask again.
  await Promise.all(clients.map((client, index) => client.answers(1, `client ${index}`)));
  const right = clients.filter(({ received }, index) =>
    received.every((payload) => String(payload) === `client ${index}`),
  );
  t.equal(right.length, clients.length);
  t.match(await forwardOf(pair), { counters: { connections: 1000, active: 1000, refused: 0, failed: 0 } });
  t.same(pair.warnings, []);
});

t.test('a flow that is idle ends at both sides, and the next datagram begins another', async (t) => {
  const echo = await startEcho(t);
  const { pair, port } = await startVerbose(t, echo.port, '/idle=1');
  const client = await UdpClient.connect(t, port);
  client.send('one');
  await client.answers(1);
  await pair.host.line(/flow ended: no datagram for 1 s/);
  await pair.guest.line(/flow ended/);
  t.match(await forwardOf(pair), { idle_seconds: 1, counters: { connections: 1, active: 0, failed: 0 } });
  client.send('two');
  await client.answers(2);
  t.match(await forwardOf(pair), { counters: { connections: 2, active: 1 } });
});

t.test('flows end with their forward, and its port is free', async (t) => {
  const echo = await startEcho(t);
  const { pair, port } = await startVerbose(t, echo.port);
  const client = await UdpClient.connect(t, port);
  client.send('hello');
  await client.answers(1);
  t.equal((await pair.run('unexpose', `127.0.0.1:${port}/udp`)).code, 0);
  await pair.guest.line(/flow ended/);
  const holder = await startEcho(t, '127.0.0.1', port);
  t.equal(holder.port, port);
  t.same(
    logLines(pair.host).filter(({ level, msg }) => level > 30 || /failed/.test(msg)),
    [],
  );
  t.equal(await pair.host.stop('SIGTERM'), 0);
});

t.test('both programs stop at once, however many flows there are', async (t) => {
  const echo = await startEcho(t);
  const { pair, port } = await startVerbose(t, echo.port);
  const client = await UdpClient.connect(t, port);
  client.send('hello');
  await client.answers(1);
  t.equal(await pair.guest.stop('SIGTERM'), 0);
  await pair.host.line(/flow ended: the guest was told to stop/);
  client.send('nobody there');
  await pair.host.line(/datagrams are dropped: (no channel|the guest takes no new streams)/);
  t.match(await forwardOf(pair), { counters: { active: 0, dropped: 1 } });
  t.equal(await pair.host.stop('SIGTERM'), 0);
});
