import t from 'tap';
import type { ConnectionEvent, HostEvent } from '../../host/records/event.js';
import { chooseFreePorts } from '../fixtures/free-ports.js';
import { builtCommand, Program, startPortferry, startServer } from '../fixtures/programs.js';
import { Reader } from '../host/control/fixtures/observed-host.js';
import { connect, Pair } from './fixtures/pair.js';

function eventsOf(program: Program): HostEvent[] {
  return program.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as HostEvent);
}

t.test('tail shows connections as they end, and goes on when the host restarts', async (t) => {
  const port = await startServer(t, (socket) => socket.end('hello'));
  const [nowhere = 0, hostPort = 0, deadPort = 0] = await chooseFreePorts(3);
  const specs = ['--forward', `${hostPort}:${port}`, '--forward', `${deadPort}:${nowhere}`];
  const pair = new Pair(t);
  pair.startHost(...specs);
  pair.startGuest();
  await pair.up();
  const tail = (...args: string[]): Program => startPortferry(t, 'tail', '--control', pair.control, ...args);
  const people = tail('--open');
  const failures = tail('--failures', '--json');
  const one = tail('--json', '--open', '--forward', `${deadPort}`);
  await people.line(/^TIME +FORWARD +CLIENT +DESTINATION +TO GUEST +TO HOST +TOOK +END +HOW$/);
  const both = async (): Promise<void> => {
    const fine = connect(t, hostPort);
    await fine.outcome();
    fine.socket.end();
    await connect(t, deadPort).outcome();
  };
  /** A tail is there when it shows something; what was before that it may have missed. */
  const until = async (program: Program, ready: () => boolean): Promise<void> => {
    while (!ready()) {
      await both();
      await program.until(() => true);
    }
  };
  const ended = (program: Program): HostEvent[] => eventsOf(program).filter(({ type }) => type === 'ended');
  for (const program of [failures, one]) await until(program, () => ended(program).length > 0);
  await until(people, () => people.count(/ SC {3}the guest could not reach /) > 0);
  t.match(
    people.lines.find((line) => line.includes(' SC ')),
    new RegExp(
      `^\\d\\d:\\d\\d:\\d\\d\\.\\d{3}  tcp localhost:${deadPort} +127\\.0\\.0\\.1:\\d+ +tcp 127\\.0\\.0\\.1:${nowhere} +0 B +0 B +[\\d.]+ ms +SC +the guest could not reach .*ECONNREFUSED`,
    ),
  );
  await people.line(/ 0 B +5 B +[\d.]+ ms +-- {3}the server ended the connection$/);
  await people.line(/ >> {3}a client has come$/);
  t.match(ended(failures)[0], { connection: { ending: { termination: 'SC' } } });
  t.same(
    new Set(eventsOf(one).map((event) => (event as ConnectionEvent).connection.forward)),
    new Set([`tcp localhost:${deadPort}`]),
  );
  t.same(new Set(eventsOf(one).map(({ type }) => type)), new Set(['opened', 'ended']));

  await pair.host.stop();
  await people.line(/^portferry: the host on .* has gone \(the host is stopping\); connecting again/);
  pair.startHost(...specs);
  await people.line(new RegExp(`^portferry: connected again: portferry .*, pid ${pair.host.child.pid}$`));
  await pair.up();
  const before = people.lines.length;
  await both();
  await people.until(() => people.lines.slice(before).some((line) => / -- {3}the /.test(line)));
  for (const program of [people, failures, one]) t.equal(await program.stop('SIGINT'), 0);
});

t.test('tail ends cleanly when its reader goes away', async (t) => {
  const port = await startServer(t, (socket) => socket.end('hello'));
  const pair = await Pair.start(t, `0:${port}`);
  const hostPort = await pair.port(port);
  const words = [...builtCommand('host/main.js'), 'tail', '--control', pair.control].join(' ');
  const piped = Program.start(t, 'bash', ['-c', `set -o pipefail; ${words} | head -n 1`]);
  await piped.line(/^TIME/);
  while (piped.outcome === undefined) {
    const client = connect(t, hostPort);
    await client.outcome();
    client.socket.end();
  }
  t.equal(piped.outcome, 0, piped.describe());
});

t.test('tail that cannot connect says so', async (t) => {
  const pair = new Pair(t);
  const { code, lines } = await pair.run('tail', '--json');
  t.equal(code, 1);
  t.match(lines, [/^portferry: no portferry host answers on .*control\.sock \(ENOENT\): start it with/]);
  const usage = await pair.run('tail', '--forward', '1000-1100');
  t.equal(usage.code, 2);
  t.match(usage.lines, [/--forward names 101 forwards, and can name 100/]);
});

t.test('thousands of connections: every event comes, or is counted', { timeout: 110_000 }, async (t) => {
  const port = await startServer(t, (socket) => socket.end('hello'));
  const pair = await Pair.start(t, `0:${port}`);
  const hostPort = await pair.port(port);
  const address = `ws+unix:${pair.control}:/v1/events`;
  const readers = await Promise.all(
    Array.from({ length: 15 }, () => new Reader(t, `${address}?types=ended`).hello()),
  );
  const stopped = await new Reader(t, `${address}?types=ended`).hello();
  t.match(await new Reader(t, address).refused(), { status: 503, message: /^16 read events already/ });
  stopped.socket.pause();
  const total = 3_000;
  for (let done = 0; done < total; done += 100)
    await Promise.all(
      Array.from({ length: 100 }, async () => {
        const client = connect(t, hostPort);
        t.equal(await client.outcome(), 'end');
        client.socket.end();
      }),
    );
  for (const reader of readers) {
    await reader.until(() => reader.events.length === total + 1);
    t.same(new Set(reader.types), new Set(['hello', 'ended']));
  }
  stopped.socket.resume();
  const counted = (): number =>
    stopped.events.reduce((sum, event) => {
      if (event.type === 'lost') return sum + event.events;
      return sum + (event.type === 'ended' ? 1 : 0);
    }, 0);
  await stopped.until(() => counted() === total);
  const stopping = pair.host.stop();
  for (const reader of readers) {
    await reader.until(() => reader.closed !== undefined);
    t.same(reader.closed, { code: 1001, reason: 'the host is stopping' });
  }
  t.equal(await stopping, 0);
});

t.test('the channel and forwards, as they come and go', async (t) => {
  const pair = await Pair.start(t, '127.0.0.1:0:80');
  const reader = new Reader(t, `ws+unix:${pair.control}:/v1/events?types=channel,forward`);
  t.match(await reader.take(2), [{ type: 'hello' }, { type: 'channel', channel: { state: 'connected' } }]);
  await pair.run('expose', '127.0.0.1:0:81');
  const [added] = await reader.take(1);
  t.match(added, { type: 'forward', change: 'added', forward: { origin: 'runtime', destination: /:81$/ } });
  await pair.guest.stop('SIGKILL');
  t.match(await reader.take(1), [{ type: 'channel', channel: { state: 'waiting', lastError: String } }]);
  pair.startGuest();
  t.match(await reader.take(1), [{ type: 'channel', channel: { state: 'connected', reconnects: 1 } }]);
});
