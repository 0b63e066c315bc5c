import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import t from 'tap';
import {
  type Forward,
  ForwardTable,
  type ForwardTableOptions,
} from '../../../host/forwards/forward-table.js';
import { formatRule, parseSpec, parseSpecMatcher } from '../../../host/rule/forward-spec.js';
import { createLogger } from '../../../protocol/program/logger.js';
import { freePort } from '../../fixtures/free-ports.js';
import { shortFolder } from '../../fixtures/short-folder.js';

function makeTable(options: Partial<ForwardTableOptions> = {}): ForwardTable {
  return new ForwardTable({
    onClient: (socket) => socket.reset(),
    logger: createLogger('silent'),
    ...options,
  });
}

function portOf(forward: Forward | undefined): number {
  return forward?.rule.proto === 'tcp' ? forward.rule.hostPort : 0;
}

t.test('exposes, lists, hands clients over, and unexposes', async (t) => {
  let handOver: (forward: Forward) => void = () => {};
  const served = new Promise<Forward>((resolve) => {
    handOver = resolve;
  });
  const table = makeTable({
    onClient: (socket, forward) => {
      socket.reset();
      handOver(forward);
    },
  });
  const [forward] = await table.expose(parseSpec('0:80'));
  const port = portOf(forward);
  t.match(forward, {
    id: `tcp localhost:${port}`,
    origin: 'runtime',
    addresses: [`127.0.0.1:${port}`],
    counters: { connections: 0, active: 0, refused: 0, failed: 0, bytesToGuest: 0, bytesToHost: 0 },
  });
  t.type(forward?.createdAt, Date);
  t.same(table.list(), [forward]);
  const client = net.connect(port, '127.0.0.1');
  client.on('error', () => {});
  const gone = new Promise((resolve) => client.on('close', resolve));
  t.equal(await served, forward);
  await gone;
  t.same(await table.unexpose(parseSpecMatcher(String(port))), [forward]);
  t.same(await table.unexpose(parseSpecMatcher(String(port))), []);
  t.same(table.list(), []);
  await table.close();
});

t.test('exposing the same again changes nothing', async (t) => {
  const table = makeTable();
  t.teardown(() => table.close());
  const [first] = await table.expose(parseSpec('0:80'), 'static');
  const spec = `${portOf(first)}:80`;
  const [again, twice] = await table.expose([...parseSpec(spec), ...parseSpec(spec)]);
  t.equal(again, first);
  t.equal(twice, first);
  t.equal(table.list().length, 1);
});

t.test('all or none', async (t) => {
  const table = makeTable();
  t.teardown(() => table.close());
  const taken = net.createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const { port } = taken.address() as net.AddressInfo;
  await t.rejects(table.expose([...parseSpec('127.0.0.1:0:80'), ...parseSpec(`${port}:80`)]), {
    name: 'OperationError',
    message: new RegExp(
      `127\\.0\\.0\\.1:${port}: address already in use \\(EADDRINUSE\\) by .+ \\(pid ${process.pid}\\)`,
    ),
  });
  t.same(table.list(), []);
});

t.test('two at once for the same address: one gets it, the other learns from whom', async (t) => {
  const table = makeTable();
  t.teardown(() => table.close());
  const port = await freePort();
  const outcomes = await Promise.allSettled([
    table.expose(parseSpec(`127.0.0.1:${port}:81`)),
    table.expose(parseSpec(`127.0.0.1:${port}:82`)),
  ]);
  t.equal(outcomes[0]?.status, 'fulfilled');
  t.match(outcomes[1], {
    status: 'rejected',
    reason: {
      message: new RegExp(`address already in use.* by the forward 127.0.0.1:${port} → tcp 127.0.0.1:81`),
    },
  });
});

t.test('TCP and UDP have ports of their own, and each its own holders', async (t) => {
  const served: string[] = [];
  const table = makeTable({ onUdpForward: (_listener, { id }) => served.push(id) });
  t.teardown(() => table.close());
  const [udp] = await table.expose(parseSpec('127.0.0.1:0:53/udp'));
  const port = udp?.rule.proto === 'udp' ? udp.rule.hostPort : 0;
  t.same(served, [`udp 127.0.0.1:${port}`]);
  t.match(udp, { addresses: [`127.0.0.1:${port}`], counters: { dropped: 0 } });
  await table.expose(parseSpec(`unix:${shortFolder(t)}/u:/b`));
  await t.rejects(table.expose(parseSpec(`127.0.0.1:${port}:54/udp`)), {
    message: new RegExp(
      `^cannot listen on udp 127.0.0.1:${port}: .* by the forward 127.0.0.1:${port} → udp 127.0.0.1:53; free it`,
    ),
  });
  const holder = dgram.createSocket('udp4').bind(0, '127.0.0.1');
  await once(holder, 'listening');
  t.teardown(() => holder.close());
  await t.rejects(table.expose(parseSpec(`127.0.0.1:${holder.address().port}:54/udp`)), {
    message: new RegExp(`address already in use \\(EADDRINUSE\\) by .+ \\(pid ${process.pid}\\)`),
  });
});

t.test('who serves no UDP has it listened on all the same', async (t) => {
  const table = makeTable();
  const [udp] = await table.expose(parseSpec('127.0.0.1:0:53/udp'));
  t.same(table.list(), [udp]);
  await table.close();
});

t.test('a batch that is in its own way says so', async (t) => {
  const table = makeTable();
  t.teardown(() => table.close());
  const port = await freePort();
  await t.rejects(
    table.expose([...parseSpec(`127.0.0.1:${port}:81`), ...parseSpec(`127.0.0.1:${port}:82`)]),
    {
      message: /by the forward/,
    },
  );
  t.same(table.list(), []);
});

t.test('unix forwards', async (t) => {
  const path = `${shortFolder(t)}/f.sock`;
  const table = makeTable();
  const [forward] = await table.expose(parseSpec(`unix:${path}:/run/x.sock`));
  t.match(forward, { id: `unix ${path}`, addresses: [path] });
  await t.rejects(table.expose(parseSpec(`unix:${path}:/run/y.sock`)), { name: 'OperationError' });
  await table.close();
});

t.test('tells what is to be kept after each change', async (t) => {
  const told: string[][] = [];
  const table = makeTable({ onChange: (rules) => void told.push(rules.map(formatRule)) });
  await table.expose(parseSpec('127.0.0.1:0:80'), 'static');
  const [forward] = await table.expose(parseSpec('127.0.0.1:0:81'));
  await table.unexpose(({ destination }) => destination.proto === 'tcp' && destination.port === 81);
  t.same(told, [[], [`127.0.0.1:${portOf(forward)}:127.0.0.1:81/tcp`], []]);
  await table.close();
});

t.test('a change stands even if it cannot be recorded', async (t) => {
  const lines: string[] = [];
  const table = makeTable({
    onChange: () => Promise.reject(new Error('disk full')),
    logger: createLogger('error', { write: (line) => void lines.push(line) }),
  });
  t.equal((await table.expose(parseSpec('127.0.0.1:0:80'))).length, 1);
  t.match(JSON.parse(lines[0] ?? ''), { err: { message: 'disk full' } });
  await table.close();
});

t.test('an address that the machine lacks is warned of once', async (t) => {
  const lines: string[] = [];
  const table = makeTable({ logger: createLogger('warn', { write: (line) => void lines.push(line) }) });
  const [rule] = parseSpec('127.0.0.1:0:80');
  t.ok(rule?.proto === 'tcp');
  if (rule?.proto !== 'tcp') return;
  const lacking = { ...rule, hostIps: ['127.0.0.1', '2001:db8::1'] };
  await table.expose([lacking]);
  await table.expose([lacking]);
  t.equal(lines.length, 1);
  t.match(lines[0], /this machine has no address 2001:db8::1/);
  await table.close();
});

t.test('a closed table takes nothing more', async (t) => {
  const table = makeTable();
  await table.expose(parseSpec('0:80'));
  await table.close();
  t.same(table.list(), []);
  await t.rejects(table.expose(parseSpec('0:80')), { name: 'OperationError', message: /is stopping/ });
});
