import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import t from 'tap';
import { Descriptors } from '../../../host/descriptors.js';
import { Claim, STATIC } from '../../../host/forwards/claim.js';
import type { Forward } from '../../../host/forwards/forward.js';
import { ForwardTable, type ForwardTableOptions } from '../../../host/forwards/forward-table.js';
import { parseSpecMatcher } from '../../../host/rule/forward-matcher.js';
import { formatRule, parseSpec } from '../../../host/rule/forward-spec.js';
import { createLogger } from '../../../protocol/program/logger.js';
import { freePort, freePorts } from '../../fixtures/free-ports.js';
import { takenPort } from '../../fixtures/leases.js';
import { LogRecorder } from '../../fixtures/log-recorder.js';
import { shortFolder } from '../../fixtures/short-folder.js';
import { Signal } from '../../protocol/fixtures/signal.js';

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
  const matcher = parseSpecMatcher(String(port));
  t.same(await table.unexpose([matcher]), { removed: [forward], unmatched: [] });
  t.same(await table.unexpose([matcher]), { removed: [], unmatched: [matcher] });
  t.same(table.list(), []);
  await table.close();
});

t.test('exposing the same again changes nothing', async (t) => {
  const table = makeTable();
  t.teardown(() => table.close());
  const [first] = await table.expose(parseSpec('0:80'), STATIC);
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
  await t.rejects(table.expose(parseSpec(`unix:${path}:/run/y.sock`)), {
    name: 'OperationError',
    message: `cannot listen on ${path}: the forward ${path} → unix /run/x.sock has it; unexpose that first, or choose another path`,
    code: 'EADDRINUSE',
  });
  await table.close();
});

t.test('tells of each change of what is to be kept', async (t) => {
  const told: string[][] = [];
  const table: ForwardTable = makeTable({ onChange: () => void told.push(table.kept().map(formatRule)) });
  await table.expose(parseSpec('127.0.0.1:0:80'), STATIC);
  const [forward] = await table.expose(parseSpec('127.0.0.1:0:81'));
  await table.unexpose([parseSpecMatcher('1-65535:1-65535')]);
  await table.unexpose([parseSpecMatcher(`${portOf(forward)}`)]);
  t.same(told, [[`127.0.0.1:${portOf(forward)}:127.0.0.1:81/tcp`], []]);
  await table.close();
});

t.test('what is restored and cannot be had is listed, tried again, kept, and can be removed', async (t) => {
  const log = new LogRecorder();
  const table = makeTable({ logger: log.logger, retryMs: 5 });
  t.teardown(() => table.close());
  const [one, two] = [await takenPort(t), await takenPort(t)];
  const free = await freePort();
  const rules = [one.port, two.port, free, free].flatMap((port) => parseSpec(`127.0.0.1:${port}:80`));
  await table.restore(rules);
  t.same(
    table.list().map(({ id }) => id),
    [`tcp 127.0.0.1:${free}`],
  );
  const reason = { code: 'EADDRINUSE', message: new RegExp(`by .* \\(pid ${process.pid}\\)`) };
  t.match(table.missing(), [
    { asked: rules[0], state: 'failed', reason, holder: { origin: 'runtime' } },
    { asked: rules[1], state: 'failed', reason },
  ]);
  t.same(table.kept(), rules.slice(0, 3));
  t.same(table.at(`tcp ${one.port}`), [rules[0]]);
  t.equal(log.matching(/^not listening for the user: .* \(it is tried again\)$/).length, 2);

  await t.rejects(table.expose(parseSpec(`127.0.0.1:${one.port}:80`)), reason, 'as it is for anybody');
  t.equal(table.missing().length, 2);
  const matcher = parseSpecMatcher(`${two.port}`);
  t.match(await table.unexpose([matcher]), { removed: [{ asked: rules[1] }], unmatched: [] });
  t.same(table.kept(), [rules[0], rules[2]]);

  await one.free();
  await log.line(/^listening on .*, for the user now$/);
  t.same(table.missing(), []);
  t.equal(table.size, 2);
  t.equal(log.matching(/^not listening/).length, 2, 'said once for each');
  await table.unexpose([parseSpecMatcher(`${one.port}`), parseSpecMatcher(`${one.port}`)]);
  t.same(table.kept(), [rules[2]]);
});

t.test('what was restored in vain can be exposed as soon as its port is free', async (t) => {
  const table = makeTable({ retryMs: 3_600_000 });
  t.teardown(() => table.close());
  const taken = await takenPort(t);
  const rules = parseSpec(`127.0.0.1:${taken.port}:80`);
  await table.restore(rules);
  await taken.free();
  await table.expose(rules);
  t.same([table.missing(), table.kept(), table.size], [[], rules, 1]);
});

t.test('the number of listeners can be limited', async (t) => {
  const descriptors = new Descriptors(58);
  t.equal(descriptors.maxListeners, 2);
  const table = makeTable({ descriptors });
  t.teardown(() => table.close());
  await table.expose(parseSpec('127.0.0.1:0:80'));
  await t.rejects(table.expose(parseSpec('0:80')), {
    name: 'OperationError',
    message: /^cannot listen on localhost:0: that takes 2 more file descriptors, and 1 of the 2 .*ulimit -n/,
    code: 'EMFILE',
  });
  const path = `${shortFolder(t)}/f.sock`;
  const [forward] = await table.expose(parseSpec(`unix:${path}:/x`));
  await t.rejects(table.expose(parseSpec(`unix:${path}2:/x`)), { code: 'EMFILE' });
  await table.unexpose([parseSpecMatcher(`unix:${path}`)]);
  t.notOk(table.list().includes(forward as Forward));
  await table.expose(parseSpec(`unix:${path}2:/x`));
});

t.test('a hundred ports are bound, and given back, all or none', async (t) => {
  const table = makeTable();
  t.teardown(() => table.close());
  const first = await freePorts(100);
  const range = parseSpec(`127.0.0.1:${first}-${first + 99}:1-100`);
  t.equal((await table.expose(range)).length, 100);
  const { removed } = await table.unexpose([parseSpecMatcher(`${first}-${first + 99}`)]);
  t.equal(removed.length, 100);
  t.same([table.list(), table.kept()], [[], []]);
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

t.test('the descriptors of listening sockets are taken and given back, whatever happens', async (t) => {
  const descriptors = new Descriptors(256);
  const all = descriptors.maxClients;
  const taken = (): number => all - descriptors.maxClients;
  const table = makeTable({ descriptors });
  await table.expose(parseSpec('127.0.0.1:0:80'));
  t.equal(taken(), 1);
  const many = Array.from({ length: 60 }, (_, index) => parseSpec(`0:${index + 1000}`)).flat();
  await t.rejects(table.expose(many), { message: /^cannot listen on localhost:0: that takes 2 more/ });
  t.equal(taken(), 1, 'those that were bound before are given back');

  const [unix, udp] = [`unix:${shortFolder(t)}/s:/x`, '127.0.0.1:0:53/udp'].map((spec) => parseSpec(spec));
  await table.expose([...(unix ?? []), ...(udp ?? [])]);
  t.equal(taken(), 3);
  const port = portOf(table.list()[0]);
  await t.rejects(table.expose(parseSpec(`127.0.0.1:${port}:81`)), { message: /in use/ });
  t.equal(taken(), 3, 'and one that cannot be bound');

  const holder = { origin: 'published', publisher: 'test' } as const;
  const claims = many.slice(0, 58).map((rule) => new Claim(rule, holder));
  await table.claim(claims, []);
  t.match(claims.at(-1), { forward: undefined, reason: { code: 'EMFILE', message: /117 for listening/ } });
  t.equal(taken(), 3 + 57 * 2);
  await table.claim([], claims);
  t.equal(taken(), 3);
  await table.close();
  t.equal(taken(), 0);
});

t.test('while accepting is paused clients wait, those of forwards that come meanwhile, too', async (t) => {
  let accepted = 0;
  const signal = new Signal();
  const table = makeTable({
    onClient: (socket) => {
      accepted++;
      socket.reset();
      signal.wake();
    },
  });
  t.teardown(() => table.close());
  await table.expose([...parseSpec('127.0.0.1:0:80'), ...parseSpec('127.0.0.1:0:53/udp')]);
  table.setAccepting(false);
  await table.expose(parseSpec('127.0.0.1:0:81'));
  for (const forward of table.list().filter(({ rule }) => rule.proto === 'tcp')) {
    const client = net.connect(portOf(forward), '127.0.0.1').on('error', () => {});
    t.teardown(() => client.destroy());
    await once(client, 'connect');
  }
  // Another table's client, which comes later, is accepted: theirs would have been, too.
  const other = await new Promise<boolean>((resolve) => {
    const free = makeTable({
      onClient: (socket) => {
        socket.reset();
        resolve(true);
      },
    });
    t.teardown(() => free.close());
    void free
      .expose(parseSpec('127.0.0.1:0:80'))
      .then(([forward]) => net.connect(portOf(forward), '127.0.0.1').on('error', () => {}));
  });
  t.ok(other);
  t.equal(accepted, 0);
  table.setAccepting(true);
  await signal.until(() => accepted === 2);
});
