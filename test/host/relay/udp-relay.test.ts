import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Forward } from '../../../host/forwards/forward.js';
import { ForwardTable } from '../../../host/forwards/forward-table.js';
import type { UdpHandler, UdpListener } from '../../../host/listen/udp-listener.js';
import type { UdpServerSocket } from '../../../host/listen/udp-server-socket.js';
import { ConnectionLog } from '../../../host/records/connection-log.js';
import { Records } from '../../../host/records/records.js';
import { UdpRelay } from '../../../host/relay/udp-relay.js';
import { parseSpecMatcher } from '../../../host/rule/forward-matcher.js';
import type { PortRule } from '../../../host/rule/forward-rule.js';
import { ChannelKeeper } from '../../../protocol/channel/channel-keeper.js';
import { LogLimiter } from '../../../protocol/program/log-limiter.js';
import { Slab, SlabPool } from '../../../protocol/slab.js';
import type { ChannelAddress } from '../../../protocol/transport/channel-address.js';
import { DATA_HEADER_BYTES } from '../../../protocol/wire/frame.js';
import { DatagramRecorder } from '../../fixtures/datagram-recorder.js';
import { DEBUG, INFO, LogRecorder, WARN } from '../../fixtures/log-recorder.js';
import { Peer } from '../../fixtures/peer.js';
import { temporaryFolder } from '../../fixtures/programs.js';
import { UdpClient } from '../../fixtures/udp-echo.js';
import { Signal } from '../../protocol/fixtures/signal.js';

const DNS = { proto: 'udp', ip: '127.0.0.1', port: 53 } as const;
const NO_FEATURES = [] as const;

/** A relay with its keeper and its forwards; the test plays the guest and the clients. */
class Bench {
  readonly log = new LogRecorder();
  readonly address: ChannelAddress;
  readonly keeper: ChannelKeeper;
  readonly records = new Records();
  readonly relay: UdpRelay;
  readonly table: ForwardTable;
  readonly #t: Test;

  private constructor(t: Test, maxFlows?: number) {
    this.#t = t;
    this.address = { kind: 'unix', path: join(temporaryFolder(t), 'c') };
    const { logger } = this.log;
    this.keeper = new ChannelKeeper({
      mode: 'listen',
      address: this.address,
      version: 'test',
      pool: new SlabPool(),
      logger,
      owner: { onUp: () => this.relay.onChannelUp(), onStream() {}, onDown() {} },
    });
    const limiter = new LogLimiter(logger);
    this.records.observe(new ConnectionLog(logger, limiter));
    this.relay = new UdpRelay({
      streams: this.keeper,
      records: this.records,
      limiter,
      ...(maxFlows !== undefined && { maxFlows }),
    });
    this.table = new ForwardTable({
      onClient: (socket) => socket.reset(),
      onUdpForward: (listener, forward) => this.relay.serve(listener, forward),
      logger,
    });
    t.teardown(async () => {
      await this.table.close();
      await this.keeper.stop({ code: 'DONE', message: 'the test is over' }, 0);
    });
  }

  static async start(t: Test, maxFlows?: number): Promise<Bench> {
    const bench = new Bench(t, maxFlows);
    await bench.keeper.start();
    return bench;
  }

  async expose(more: Partial<PortRule> = {}): Promise<Forward> {
    const rule: PortRule = { proto: 'udp', hostIps: ['127.0.0.1'], hostPort: 0, destination: DNS, ...more };
    const [forward] = await this.table.expose([rule]);
    if (forward) return forward;
    throw new Error('nothing was exposed');
  }

  connect({ rule }: Forward): Promise<UdpClient> {
    return UdpClient.connect(this.#t, rule.proto === 'udp' ? rule.hostPort : 0);
  }

  /** A guest, which the relay knows of, too: what came before would be dropped. */
  async guest(features?: typeof NO_FEATURES): Promise<Peer> {
    const channels = this.log.matching(/^the channel is up/).length;
    const guest = await Peer.connect(this.#t, this.address, features);
    await this.log.line(/^the channel is up/, channels + 1);
    return guest;
  }

  get states(): string[] {
    return this.records.report().map(({ state }) => state);
  }
}

/** A forward whose socket and clients are the test's. */
class FakeForward {
  readonly forward: Forward;
  readonly answers: string[] = [];
  readonly signal = new Signal();
  /** What becomes of an answer. */
  failure: Error | undefined;
  handler: UdpHandler | undefined;
  readonly #socket: UdpServerSocket;

  constructor(bench: Bench, forward: Forward) {
    this.forward = forward;
    const socket = {
      address: { ip: '127.0.0.1', port: 53 },
      send: (payload: Buffer, _client: unknown, onFailed: (error: Error) => void) => {
        if (this.failure) onFailed(this.failure);
        else this.answers.push(String(payload));
        this.signal.wake();
      },
    };
    const listener = {
      rule: forward.rule,
      start: (handler: UdpHandler) => {
        this.handler = handler;
      },
    };
    this.#socket = socket as unknown as UdpServerSocket;
    bench.relay.serve(listener as unknown as UdpListener, forward);
  }

  send(text: string, port: number, ip = '10.0.0.1'): void {
    this.handler?.onDatagram(Buffer.from(text), { ip, port }, this.#socket);
  }
}

t.test('each client has a stream to the destination, and gets its own answers', async (t) => {
  const bench = await Bench.start(t);
  const guest = await bench.guest();
  const forward = await bench.expose();
  const clients = [await bench.connect(forward), await bench.connect(forward)];
  const flows: DatagramRecorder[] = [];
  for (const [index, client] of clients.entries()) {
    client.send(`question ${index}`);
    const opened = await guest.nextStream();
    t.same(opened.stream.destination, DNS);
    const { port } = client.socket.address();
    t.same(opened.source, {
      client: { ip: '127.0.0.1', port },
      listener: { ip: '127.0.0.1', port: forward.rule.proto === 'udp' ? forward.rule.hostPort : 0 },
    });
    guest.opened.push(opened);
    flows.push(await DatagramRecorder.accept(guest));
  }
  t.equal(bench.states.length, 2);
  for (const [index, flow] of flows.entries()) {
    await guest.until(() => flow.received.length > 0);
    t.same(flow.texts, [`question ${index}`]);
    flow.send(`answer ${index}`);
    await clients[index]?.answers(1);
    t.same(clients[index]?.received.map(String), [`answer ${index}`]);
  }
  clients[0]?.send('more');
  await guest.until(() => flows[0]?.received.length === 2);
  t.match(forward.counters, { connections: 2, active: 2, dropped: 0, bytesToGuest: 0 });
  const [report] = bench.records.report();
  t.match(report, {
    forward: forward.id,
    destination: 'udp 127.0.0.1:53',
    state: 'connected',
    bytesToGuest: 14,
    bytesToHost: 8,
    client: /^127\.0\.0\.1:\d+$/,
  });
  t.same(Object.keys(report?.timingsMicros ?? {}), ['hold', 'channel', 'guestDial', 'firstByte']);

  await bench.table.unexpose([parseSpecMatcher('1-65535/udp')]);
  await guest.until(() => flows.every(({ end }) => end !== undefined));
  for (const { end } of flows) t.match(end, { how: 'reset', reason: { code: 'UNEXPOSED' } });
  t.same(bench.states, ['closed', 'closed']);
  t.match(forward.counters, { active: 0, refused: 0, failed: 0, bytesToGuest: 24, bytesToHost: 16 });
});

t.test('a flow that is idle ends, and the next datagram begins another', async (t) => {
  const bench = await Bench.start(t);
  const guest = await bench.guest();
  const forward = await bench.expose({ idleSeconds: 0.03 });
  const client = await bench.connect(forward);
  for (const round of [1, 2]) {
    client.send('hello');
    const flow = await DatagramRecorder.accept(guest);
    await guest.until(() => flow.end !== undefined);
    t.match(flow.end, { how: 'reset', reason: { code: 'IDLE', message: 'no datagram for 0.03 s' } });
    t.match(await bench.log.line(/^flow ended: no datagram/, round), { level: DEBUG, forward: forward.id });
  }
  t.match(forward.counters, { connections: 2, active: 0, failed: 0 });
});

t.test('without a channel datagrams are dropped, with one warning an outage', async (t) => {
  const bench = await Bench.start(t);
  const forward = await bench.expose();
  const fake = new FakeForward(bench, forward);
  const warnings = () => bench.log.matching(/^datagrams are dropped/);
  for (const port of [1, 2, 2]) fake.send('nobody there', port);
  t.equal(warnings().length, 1);
  t.match(warnings()[0], {
    level: WARN,
    msg: /no channel on unix:.* \(no guest has come yet\): start or check/,
  });
  t.equal(forward.counters.dropped, 3);
  t.equal(forward.counters.connections, 0);

  const guest = await bench.guest();
  fake.send('anybody?', 1);
  const flow = await DatagramRecorder.accept(guest);
  await guest.until(() => flow.received.length > 0);
  guest.multiplexer.goAway({ code: 'STOPPED', message: 'told to stop' });
  await bench.log.line(/takes no new streams/);
  fake.send('the flow that exists goes on', 1);
  await guest.until(() => flow.received.length > 1);
  fake.send('a new one', 2);
  t.match(warnings()[1], { msg: /the guest takes no new streams/ });
  guest.close();
  await bench.log.line(/^flow ended: the channel was lost: the peer closed the channel/);
  t.match(bench.states, ['failed']);
  t.match(forward.counters, { connections: 1, active: 0, failed: 1, dropped: 4 });

  const next = await bench.guest();
  fake.send('again', 1);
  const again = await DatagramRecorder.accept(next);
  await next.until(() => again.texts.includes('again'));
});

t.test('a refused stream is logged once for its flow, with its reason', async (t) => {
  const bench = await Bench.start(t);
  const forward = await bench.expose();
  const fake = new FakeForward(bench, forward);
  const guest = await bench.guest();
  const refusals = [
    [
      'dial',
      'EMFILE',
      /^flow ended: .*could not reach udp 127\.0\.0\.1:53: EMFILE \(so it is\) after 2\.0 ms/,
    ],
    ['policy', 'EACCES', /^flow ended: the guest does not allow udp 127\.0\.0\.1:53: so it is/],
  ] as const;
  for (const [step, code, message] of refusals) {
    fake.send('one', 1);
    fake.send('two', 1);
    const { stream } = await guest.nextStream();
    stream.refuse(step, { code, message: 'so it is' }, 2000);
    t.match(await bench.log.line(message), { level: WARN, forward: forward.id, errno: code });
  }
  t.match(forward.counters, { connections: 2, refused: 2, active: 0 });
  t.equal(bench.log.lines.filter(({ level, forward }) => level === WARN && forward).length, 2);
});

t.test('a plain guest ends a flow by a Close alone', async (t) => {
  const bench = await Bench.start(t);
  const forward = await bench.expose();
  const fake = new FakeForward(bench, forward);
  const guest = await bench.guest(NO_FEATURES);
  fake.send('one', 1);
  const answered = await DatagramRecorder.accept(guest);
  answered.send('answer');
  await fake.signal.until(() => fake.answers.length > 0);
  answered.datagrams.end({ code: 'ECONNREFUSED', message: 'nobody listens any more' });
  t.match(await bench.log.line(/^flow ended: the guest ended it/), { level: DEBUG });
  fake.send('two', 1);
  const refused = await DatagramRecorder.accept(guest);
  refused.datagrams.end({ code: 'ECONNREFUSED', message: 'nobody listens' });
  t.match(await bench.log.line(/a plain peer cannot say why/), { level: WARN, errno: undefined });
  t.same(bench.states, ['refused', 'closed']);
  fake.send('three', 1);
  const halfClosed = await DatagramRecorder.accept(guest);
  halfClosed.datagrams.stream.shutdown();
  await bench.log.line(/^flow ended: the guest ended it/, 2);
  t.match(forward.counters, { refused: 1, failed: 0, active: 0 });
});

t.test('bytes that are no datagrams end the flow, and nothing else', async (t) => {
  const bench = await Bench.start(t);
  const forward = await bench.expose();
  const fake = new FakeForward(bench, forward);
  const guest = await bench.guest();
  fake.send('hello', 1);
  const served = await guest.accept();
  const slab = new Slab(4, false);
  slab.room.fill(0);
  served.stream.write(slab, DATA_HEADER_BYTES, DATA_HEADER_BYTES + 4, false);
  t.match(await bench.log.line(/^flow ended: a datagram contradicts itself/), {
    level: INFO,
    code: 'BAD_DATAGRAM',
  });
  await guest.until(() => served.end !== undefined);
  t.match(served.end, { how: 'reset', reason: { code: 'BAD_DATAGRAM' } });
  t.match(forward.counters, { failed: 1, active: 0 });
  t.ok(guest.connected);
});

t.test('when there are too many flows, the one that is idle longest makes way', async (t) => {
  const bench = await Bench.start(t, 4);
  const forward = await bench.expose();
  const fake = new FakeForward(bench, forward);
  const guest = await bench.guest();
  const flows = new Map<number, DatagramRecorder>();
  const begin = async (port: number): Promise<void> => {
    fake.send('hello', port);
    flows.set(port, await DatagramRecorder.accept(guest));
  };
  const warnings = () => bench.log.matching(/^there are 4 UDP flows/);
  for (const port of [1, 2, 3, 4]) await begin(port);
  fake.send('still busy', 1);
  flows.get(2)?.send('busy on the other side');
  await fake.signal.until(() => fake.answers.length > 0);
  for (const port of [5, 6]) await begin(port);
  for (const port of [3, 4]) {
    await guest.until(() => flows.get(port)?.end !== undefined);
    t.match(flows.get(port)?.end, { how: 'reset', reason: { code: 'CROWDED' } });
  }
  t.match(warnings(), [{ level: WARN, forward: forward.id, msg: /those that have been idle longest end/ }]);
  t.equal(warnings().length, 1);
  t.match(forward.counters, { connections: 6, active: 4, failed: 2 });

  fake.handler?.onClose();
  t.equal(forward.counters.active, 0);
  for (const port of [1, 2, 3, 4, 5]) await begin(port);
  t.equal(warnings().length, 2, 'a new crowd is worth a new line');
});

t.test('what the channel does not take is dropped and counted, and said once of a flow', async (t) => {
  const bench = await Bench.start(t);
  const forward = await bench.expose();
  const fake = new FakeForward(bench, forward);
  // It has no window to send in, for the stream is not accepted.
  await bench.guest(NO_FEATURES);
  const big = 'x'.repeat(60_000);
  for (let count = 0; count < 10; count++) fake.send(big, 1);
  t.match(bench.log.matching(/faster than the channel takes them/), [{ level: DEBUG, forward: forward.id }]);
  t.equal(bench.log.matching(/faster than the channel takes them/).length, 1);
  t.equal(forward.counters.dropped, 5);
  fake.handler?.onClose();
  t.equal(forward.counters.dropped, 9, 'and what waited is dropped with the flow');
});

t.test('answers that cannot be sent are counted, and said once of a flow', async (t) => {
  const bench = await Bench.start(t);
  const forward = await bench.expose();
  const fake = new FakeForward(bench, forward);
  const guest = await bench.guest();
  fake.failure = new Error('send EPERM');
  fake.send('hello', 1);
  const flow = await DatagramRecorder.accept(guest);
  for (const text of ['one', 'two']) flow.send(text);
  await fake.signal.until(() => forward.counters.dropped === 2);
  const lines = bench.log.matching(/^an answer of 3 bytes could not be sent to the client: send EPERM/);
  t.match(lines, [{ level: INFO, forward: forward.id }]);
  t.equal(lines.length, 1);
});

t.test('a stream that cannot be opened, and a client that cannot be answered', async (t) => {
  const bench = await Bench.start(t);
  const guest = await bench.guest();
  const unsendable = { proto: 'unix', path: `/${'x'.repeat(5000)}` } as const;
  const forward = await bench.expose({ destination: unsendable });
  const fake = new FakeForward(bench, forward);
  fake.send('hello', 1);
  t.match(await bench.log.line(/^flow ended: path of 5001 bytes/), { level: WARN });
  fake.send('from nowhere', 0);
  t.match(forward.counters, { dropped: 2, connections: 1, failed: 1, active: 0 });
  t.equal(guest.opened.length, 0);
});
