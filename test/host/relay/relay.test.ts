import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Forward } from '../../../host/forwards/forward.js';
import { ForwardTable } from '../../../host/forwards/forward-table.js';
import { ConnectionLog } from '../../../host/records/connection-log.js';
import type { Ending } from '../../../host/records/ending.js';
import { Records } from '../../../host/records/records.js';
import { Crowd } from '../../../host/relay/crowd.js';
import { encodeProxyHeader } from '../../../host/relay/proxy-protocol.js';
import { Relay } from '../../../host/relay/relay.js';
import type { ForwardRule, PortRule } from '../../../host/rule/forward-rule.js';
import { ChannelKeeper } from '../../../protocol/channel/channel-keeper.js';
import { LogLimiter } from '../../../protocol/program/log-limiter.js';
import { SlabPool } from '../../../protocol/slab.js';
import type { ChannelAddress } from '../../../protocol/transport/channel-address.js';
import type { Destination } from '../../../protocol/wire/destination.js';
import { DEBUG, INFO, LogRecorder, WARN } from '../../fixtures/log-recorder.js';
import { Peer } from '../../fixtures/peer.js';
import { temporaryFolder } from '../../fixtures/programs.js';
import { Observer } from '../../protocol/fixtures/observer.js';

const WEB: Destination = { proto: 'tcp', ip: '127.0.0.1', port: 80 };
const NO_FEATURES = [] as const;
const LONG_MS = 60_000;

/** A relay with its keeper and its forwards; the test plays the guest and the clients. */
class Bench {
  readonly log = new LogRecorder();
  readonly address: ChannelAddress;
  readonly keeper: ChannelKeeper;
  readonly records = new Records();
  readonly relay: Relay;
  readonly table: ForwardTable;
  readonly #t: Test;

  private constructor(t: Test, holdMs: number, maxClients: number) {
    this.#t = t;
    this.address = { kind: 'unix', path: join(temporaryFolder(t), 'c') };
    const { logger } = this.log;
    const log = new ConnectionLog(logger, new LogLimiter(logger));
    this.records.observe(log);
    this.keeper = new ChannelKeeper({
      mode: 'listen',
      address: this.address,
      version: 'test',
      pool: new SlabPool(),
      logger,
      owner: {
        onUp: () => {
          log.onChannelUp();
          this.relay.onChannelUp();
        },
        onStream() {},
        onDown() {},
      },
    });
    const { keeper, records } = this;
    const crowd = new Crowd({
      room: { maxClients },
      setAccepting: (accepting) => this.table.setAccepting(accepting),
      logger,
    });
    this.relay = new Relay({ streams: keeper, records, holdMs, crowd });
    this.table = new ForwardTable({
      onClient: (socket, forward) => this.relay.onClient(socket, forward),
      logger,
    });
    t.teardown(async () => {
      await this.table.close();
      await this.keeper.stop({ code: 'DONE', message: 'the test is over' }, 0);
    });
  }

  static async start(t: Test, holdMs = LONG_MS, maxClients = Number.POSITIVE_INFINITY): Promise<Bench> {
    const bench = new Bench(t, holdMs, maxClients);
    await bench.keeper.start();
    return bench;
  }

  async expose(destination: Destination = WEB, more: Partial<PortRule> = {}): Promise<Forward> {
    const rule: ForwardRule = { proto: 'tcp', hostIps: ['127.0.0.1'], hostPort: 0, destination, ...more };
    const [forward] = await this.table.expose([rule]);
    if (forward) return forward;
    throw new Error('nothing was exposed');
  }

  /** A client of a forward, connecting. */
  connect({ rule }: Forward): Observer {
    const to = rule.proto === 'unix' ? { path: rule.hostPath } : { host: '127.0.0.1', port: rule.hostPort };
    const socket = net.connect({ ...to, allowHalfOpen: true });
    this.#t.teardown(() => socket.destroy());
    return new Observer(socket);
  }

  guest(features?: typeof NO_FEATURES): Promise<Peer> {
    return Peer.connect(this.#t, this.address, features);
  }

  /** The states of all connections, the open ones first. */
  get states(): string[] {
    return this.records.report().map(({ state }) => state);
  }

  /** How the connections ended that have, the last one first. */
  get endings(): (Ending | undefined)[] {
    return this.records.ended().map(({ ending }) => ending);
  }
}

t.test('a client is served over a stream, and both half-closes pass', async (t) => {
  const bench = await Bench.start(t);
  const guest = await bench.guest();
  const forward = await bench.expose();
  const client = bench.connect(forward);
  const { stream, source } = await guest.nextStream();
  t.same(stream.destination, WEB);
  t.match(source, { client: { ip: '127.0.0.1' }, listener: { ip: '127.0.0.1' } });
  t.same(bench.states, ['opening']);

  guest.opened.push({ stream, source });
  const served = await guest.accept();
  served.stream.reportConnected(1000);
  client.socket.end('question');
  await guest.until(() => served.halfClosed);
  t.equal(served.received, 'question');
  t.same(bench.states, ['connected']);
  t.match(forward.counters, { connections: 1, active: 1 });
  served.send('a long answer');
  served.stream.shutdown();
  t.equal(await client.outcome(), 'end');
  t.equal(client.bytes, 13);
  t.match(await bench.log.line(/^connection closed/), { level: DEBUG, destination: 'tcp 127.0.0.1:80' });
  t.same(bench.states, ['closed']);
  t.match(forward.counters, { active: 0, refused: 0, failed: 0, bytesToGuest: 8, bytesToHost: 13 });
  const [report] = bench.records.report();
  t.same(Object.keys(report?.timingsMicros ?? {}), ['hold', 'channel', 'guestDial', 'firstByte', 'total']);
  t.equal(report?.timingsMicros?.['guestDial'], 1000);
});

t.test('a refused dial resets the client and is logged once, with its reason', async (t) => {
  const bench = await Bench.start(t);
  const forward = await bench.expose();
  const refusals = [
    [
      'dial',
      'ECONNREFUSED',
      /could not reach tcp 127\.0\.0\.1:80: ECONNREFUSED \(nobody there\) after 2\.0 ms/,
    ],
    ['policy', 'EACCES', /does not allow tcp 127\.0\.0\.1:80: nobody there/],
  ] as const;
  const guest = await bench.guest();
  for (const [step, code, message] of refusals) {
    const client = bench.connect(forward);
    const { stream } = await guest.nextStream();
    stream.refuse(step, { code, message: 'nobody there' }, 2000);
    t.equal(await client.outcome(), 'ECONNRESET');
    const line = await bench.log.line(message);
    t.match(line, { level: WARN, forward: forward.id, destination: 'tcp 127.0.0.1:80', errno: code });
  }
  t.match(forward.counters, { connections: 2, active: 0, refused: 2, failed: 0 });
  t.same(bench.states, ['refused', 'refused']);
  t.equal(bench.log.lines.filter(({ level, forward }) => level === WARN && forward).length, 2);
});

t.test('a plain guest cannot say why, and the client is reset all the same', async (t) => {
  const bench = await Bench.start(t);
  const guest = await bench.guest(NO_FEATURES);
  const client = bench.connect(await bench.expose());
  const { stream, source } = await guest.nextStream();
  t.equal(source, undefined);
  stream.refuse('dial', { code: 'ECONNREFUSED', message: 'nobody there' });
  t.equal(await client.outcome(), 'ECONNRESET');
  t.match(await bench.log.line(/a plain peer cannot say why/), { level: WARN, errno: undefined });
});

for (const peer of ['portferry', 'plain'] as const)
  t.test(
    `a destination that wants to know learns first who the client is, through a ${peer} guest`,
    async (t) => {
      const bench = await Bench.start(t);
      const guest = await bench.guest(peer === 'plain' ? NO_FEATURES : undefined);
      for (const proxyProtocol of [1, 2] as const) {
        const forward = await bench.expose(WEB, { proxyProtocol });
        const client = bench.connect(forward);
        const question = 'q'.repeat(100_000);
        client.socket.write(question);
        const opened = await guest.nextStream();
        const sent = (): number => bench.records.report()[0]?.bytesToGuest ?? 0;
        t.equal(sent() > 0, peer === 'portferry', 'a plain guest has not allowed anything yet');
        guest.opened.push(opened);
        const served = await guest.accept();
        served.stream.reportConnected(10);
        const header = encodeProxyHeader(proxyProtocol, {
          client: { ip: '127.0.0.1', port: client.socket.localPort ?? 0 },
          listener: { ip: '127.0.0.1', port: client.socket.remotePort ?? 0 },
        }).toString();
        await guest.until(() => served.received.length >= header.length + question.length);
        t.ok(served.received === header + question);
        served.send('an answer');
        served.stream.shutdown();
        client.socket.end();
        t.equal(await client.outcome(), 'end');
        t.equal(client.bytes, 9);
        await bench.log.line(/^connection closed/, proxyProtocol);
      }
    },
  );

t.test('a client that leaves while its header waits is gone', async (t) => {
  const bench = await Bench.start(t);
  const guest = await bench.guest(NO_FEATURES);
  const client = bench.connect(await bench.expose(WEB, { proxyProtocol: 1 }));
  const { stream } = await guest.nextStream();
  client.socket.end();
  stream.refuse('dial', { code: 'ECONNREFUSED', message: 'nobody there' });
  t.equal(await client.outcome(), 'ECONNRESET');
  t.same(bench.states, ['refused']);
});

t.test('resets pass in both directions', async (t) => {
  const bench = await Bench.start(t);
  const guest = await bench.guest();
  const forward = await bench.expose();
  const reset = bench.connect(forward);
  const served = await guest.accept();
  served.stream.reportConnected(10);
  served.stream.reset({ code: 'ECONNRESET', message: 'the server reset the connection' });
  t.equal(await reset.outcome(), 'ECONNRESET');
  t.match(await bench.log.line(/^client reset: the server reset/), { level: INFO, errno: 'ECONNRESET' });

  const leaving = bench.connect(forward);
  const left = await guest.accept();
  leaving.socket.resetAndDestroy();
  await guest.until(() => left.end !== undefined);
  t.match(left.end, { how: 'reset', reason: { code: 'ECONNRESET' } });
  t.match(await bench.log.line(/^client gone/), { level: INFO });
  t.match(forward.counters, { failed: 2, active: 0 });
});

t.test('a channel that dies resets its clients', async (t) => {
  const bench = await Bench.start(t);
  const guest = await bench.guest();
  const client = bench.connect(await bench.expose());
  const served = await guest.accept();
  served.send('the first half');
  await client.until(() => client.bytes > 0);
  guest.close();
  t.equal(await client.outcome(), 'ECONNRESET');
  t.match(await bench.log.line(/^client reset: the channel was lost: the peer closed the channel/), {
    level: DEBUG,
  });
});

t.test('clients that come before the guest are held until it is there', async (t) => {
  const bench = await Bench.start(t);
  const forward = await bench.expose();
  const client = bench.connect(forward);
  client.socket.write('early');
  while (forward.counters.connections < 1) await new Promise(setImmediate);
  t.same(bench.states, ['held']);
  const guest = await bench.guest();
  const served = await guest.accept();
  await guest.until(() => served.received === 'early');
  t.same(bench.states, ['opening'], 'nobody has told of a connection yet');
});

t.test('clients that are held too long are reset, with one warning for all of them', async (t) => {
  const bench = await Bench.start(t, 20);
  const forward = await bench.expose();
  const clients = Array.from({ length: 5 }, () => bench.connect(forward));
  for (const client of clients) t.equal(await client.outcome(), 'ECONNRESET');
  const [warning] = bench.log.matching(/^clients are reset/);
  t.match(warning, {
    level: WARN,
    msg: /no channel on unix:.* \(no guest has come yet\): start .*waited for 0\.02 s/,
  });
  t.equal(bench.log.matching(/^clients are reset/).length, 1);
  t.equal(bench.log.matching(/^client reset/).length, 4);
  t.match(forward.counters, { connections: 5, active: 0, failed: 5 });
  t.match(bench.records.report(), [{ streamId: -1, state: 'failed', client: /^127\.0\.0\.1:/ }]);

  const guest = await bench.guest();
  bench.connect(forward);
  await guest.nextStream();
  guest.close();
  await bench.log.line(/^no channel/);
  await bench.connect(forward).outcome();
  t.match(bench.log.matching(/^clients are reset/)[1], { msg: /\(the peer closed the channel\)/ });
});

t.test('a guest that is about to stop gets no new clients', async (t) => {
  const bench = await Bench.start(t);
  const forward = await bench.expose();
  const leaving = await bench.guest();
  leaving.multiplexer.goAway({ code: 'STOPPED', message: 'told to stop' });
  await bench.log.line(/takes no new streams/);
  const client = bench.connect(forward);
  client.socket.write('who is there?');
  while (forward.counters.connections < 1) await new Promise(setImmediate);
  leaving.close();
  await bench.log.line(/^no channel/);
  const next = await bench.guest();
  const served = await next.accept();
  await next.until(() => served.received !== '');
  t.equal(leaving.opened.length, 0);
});

t.test('clients that a stopping guest keeps waiting are told so', async (t) => {
  const bench = await Bench.start(t, 5);
  const forward = await bench.expose();
  const leaving = await bench.guest();
  leaving.multiplexer.goAway({ code: 'STOPPED', message: 'told to stop' });
  await bench.log.line(/takes no new streams/);
  t.equal(await bench.connect(forward).outcome(), 'ECONNRESET');
  t.match(bench.log.matching(/^clients are reset/), [
    { msg: /guest takes no new streams: it is stopping; the client has waited for 0\.005 s/ },
  ]);
});

t.test('a destination that cannot be sent resets its clients', async (t) => {
  const bench = await Bench.start(t);
  const guest = await bench.guest();
  const forward = await bench.expose({ proto: 'unix', path: `/${'x'.repeat(5000)}` });
  const client = bench.connect(forward);
  t.equal(await client.outcome(), 'ECONNRESET');
  t.match(await bench.log.line(/^client reset: path of 5001 bytes/), { level: WARN });
  t.equal(guest.opened.length, 0);
});

t.test('at the end every client is reset, held or served', async (t) => {
  const bench = await Bench.start(t);
  const forward = await bench.expose();
  const guest = await bench.guest();
  const served = bench.connect(forward);
  await guest.accept();
  guest.multiplexer.goAway({ code: 'STOPPED', message: 'told to stop' });
  await bench.log.line(/takes no new streams/);
  const held = bench.connect(forward);
  while (forward.counters.connections < 2) await new Promise(setImmediate);
  t.same(bench.states, ['opening', 'held']);
  bench.relay.abort({ code: 'STOPPED', message: 'the host was told to stop' });
  t.equal(await served.outcome(), 'ECONNRESET');
  t.equal(await held.outcome(), 'ECONNRESET');
  t.match(forward.counters, { active: 0, failed: 2 });
});

t.test('clients beyond what the descriptors allow wait for their turn', async (t) => {
  const bench = await Bench.start(t, LONG_MS, 2);
  const guest = await bench.guest();
  const forward = await bench.expose();
  const clients = Array.from({ length: 5 }, () => bench.connect(forward));
  const served = [await guest.accept(), await guest.accept()];
  await bench.log.line(/^clients wait: 2 are being served/);
  for (let count = 0; count < 3; count++) {
    t.match(forward.counters, { active: 2, connections: 2 + count });
    served.shift()?.stream.reset({ code: 'DONE', message: 'that is all' });
    served.push(await guest.accept());
  }
  t.match(forward.counters, { connections: 5, active: 2 });
  for (const { stream } of served) stream.reset({ code: 'DONE', message: 'that is all' });
  for (const client of clients) t.equal(await client.outcome(), 'ECONNRESET');
  const late = await bench.expose();
  bench.connect(late);
  await guest.accept();
});

t.test('a client that comes though there is no room for it is reset', async (t) => {
  const bench = await Bench.start(t, LONG_MS, 0);
  const forward = await bench.expose();
  t.equal(await bench.connect(forward).outcome(), 'ECONNRESET');
  t.match(forward.counters, { connections: 1, failed: 1, active: 0 });
});
