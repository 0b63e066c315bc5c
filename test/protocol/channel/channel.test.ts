import { mock } from 'node:test';
import t, { type Test as Tap } from 'tap';
import { HANDSHAKE_TIMEOUT_MS } from '../../../protocol/channel/channel.js';
import {
  PING_INTERVAL_MS,
  PROBE_TIMEOUT_MS,
  SLOW_PING_INTERVAL_MS,
} from '../../../protocol/channel/heartbeat.js';
import { CONTROL_SERVICE } from '../../../protocol/services/control.js';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import { encodeHandshake, encodeHandshakePayload, type Feature } from '../../../protocol/wire/handshake.js';
import { memoryPair } from '../fixtures/memory-socket.js';
import { RecordingHandler, WEB } from '../fixtures/recording.js';
import { Signal, turnsUntil } from '../fixtures/signal.js';
import { socketPair, Tunnel, TunnelEnd, temporaryFolder } from '../fixtures/tunnel.js';

const HANDSHAKE = encodeHandshake('test', ['ping', 'goaway']);
const CONTROL = { proto: 'unix', path: CONTROL_SERVICE } as const;
const PLAIN_HANDSHAKE = encodeHandshakePayload(Buffer.alloc(0));

t.test('a peer that is no multiplexer is named by its first bytes', async (t) => {
  const { end, peer } = await channelWithPeer(t, 'unix');
  peer.send(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'));
  await end.until(() => end.closed);
  t.match(end.ended, { code: 'NOT_A_MULTIPLEXER', message: '"HTTP/1.1 400 Bad Request\\x0d\\x0a' });
  t.equal(end.pool.out, 0);
});

t.test('a peer that closes before its handshake is said to have done so', async (t) => {
  const { end, peer } = await channelWithPeer(t, 'unix');
  peer.send(HANDSHAKE.subarray(0, 20));
  peer.end();
  await end.until(() => end.closed);
  t.same(end.ended, {
    code: 'CHANNEL_CLOSED',
    message: 'the peer closed the channel after 20 bytes, before its handshake was complete',
  });
  t.equal(end.pool.out, 0);
});

t.test('a peer that resets before its handshake is said to have done so', async (t) => {
  const { end, peer } = await channelWithPeer(t, 'tcp');
  peer.reset();
  await end.until(() => end.closed);
  t.match(end.ended, {
    code: 'ECONNRESET',
    message: /^the channel failed: .* after 0 bytes, before its hand/,
  });
  t.equal(end.pool.out, 0);
});

t.test('a peer that closes later needs no such words', async (t) => {
  const { end, peer } = await channelWithPeer(t, 'unix');
  peer.send(PLAIN_HANDSHAKE);
  await end.until(() => end.peer !== undefined);
  peer.end();
  await end.until(() => end.closed);
  t.same(end.ended, { code: 'CHANNEL_CLOSED', message: 'the peer closed the channel' });
});

t.test('a channel whose socket is destroyed here ends, too', async (t) => {
  const { end } = await channelWithPeer(t, 'unix');
  end.socket.destroy();
  await end.until(() => end.closed);
  t.match(end.ended, { code: 'CHANNEL_CLOSED', message: /^the channel was closed after 0 bytes/ });
  t.equal(end.pool.out, 0);
});

t.test('a handshake that does not come in time ends the channel', async (t) => {
  const clock = fakeClock(t);
  const { end, peer } = channelInMemory();
  peer.send(HANDSHAKE.subarray(0, HANDSHAKE.length - 1));
  clock.tick(HANDSHAKE_TIMEOUT_MS / 10, 9);
  t.equal(end.ended, undefined);
  clock.tick(HANDSHAKE_TIMEOUT_MS / 10, 1);
  await end.until(() => end.ended !== undefined);
  t.match(end.ended, { code: 'HANDSHAKE_TIMEOUT', message: /in 10 s, which are not a whole handshake$/ });
  await end.until(() => end.closed);
  t.equal(end.pool.out, 0);
});

t.test('a handshake in time lets the channel live', async (t) => {
  const clock = fakeClock(t);
  const { end, peer } = channelInMemory();
  peer.send(PLAIN_HANDSHAKE);
  await end.until(() => end.peer !== undefined);
  clock.tick(HANDSHAKE_TIMEOUT_MS / 10, 20);
  await new Promise(setImmediate);
  t.equal(end.ended, undefined);
  await closed(end);
});

t.test('silence in spite of pings ends the channel', async (t) => {
  const clock = fakeClock(t);
  const { end, peer } = channelInMemory();
  peer.send(HANDSHAKE);
  await end.until(() => end.peer !== undefined);
  clock.tick(PING_INTERVAL_MS, 2);
  t.equal(end.ended, undefined);
  clock.tick(PING_INTERVAL_MS, 1);
  await end.until(() => end.ended !== undefined);
  t.same(end.ended, {
    code: 'PEER_SILENT',
    message: 'nothing was heard from the peer for 6.0 s, though it was asked',
  });
  t.equal(end.channel.roundTripMs, undefined);
  await end.until(() => end.closed);
  t.equal(end.pool.out, 0);
});

/** A channel whose peer has answered, and on which nothing is under way. */
async function restingChannel(t: Tap): Promise<Resting> {
  const clock = fakeClock(t);
  const { end, peer } = channelInMemory();
  const { multiplexer } = end.channel;
  peer.send(HANDSHAKE);
  await end.until(() => end.peer !== undefined);
  const pings = mock.method(multiplexer, 'ping').mock;
  // A frame that is skipped, for its command is one of a later version: anything is a sign of life.
  const answer = async (): Promise<void> => {
    const before = multiplexer.skipped.unknown;
    peer.send(Buffer.from('0700ff00000000', 'hex'));
    await turnsUntil(() => multiplexer.skipped.unknown > before);
  };
  await answer();
  clock.tick(PING_INTERVAL_MS, 10);
  t.equal(pings.callCount(), 0, 'the peer is not asked any more, and may be silent');
  t.equal(end.ended, undefined);
  return { end, clock, answer, pings: () => pings.callCount() };
}

interface Resting {
  end: TunnelEnd;
  clock: ReturnType<typeof fakeClock>;
  answer(): Promise<void>;
  pings(): number;
}

t.test('a connection that comes to a dead channel ends it soon', async (t) => {
  const { end, clock, pings } = await restingChannel(t);
  const handler = new RecordingHandler();
  end.channel.multiplexer.open(WEB, handler);
  t.equal(pings(), 1);
  clock.tick(PROBE_TIMEOUT_MS - 1, 1);
  t.equal(end.ended, undefined);
  clock.tick(1, 1);
  await end.until(() => end.ended !== undefined);
  t.match(end.ended, { code: 'PEER_SILENT', message: /^nothing was heard from the peer for 1\.5 s, though/ });
  t.match(handler.end, { how: 'lost', reason: { code: 'PEER_SILENT' } });
});

t.test('so does somebody who wants to know whether the peer is there', async (t) => {
  const { end, clock, pings } = await restingChannel(t);
  const probed = end.channel.probe();
  t.equal(pings(), 1);
  clock.tick(PROBE_TIMEOUT_MS, 1);
  await probed;
  t.match(end.ended, { code: 'PEER_SILENT' });
});

t.test('who is told at once, where it is or has just been heard', async (t) => {
  const { end, answer, pings } = await restingChannel(t);
  const probes = [end.channel.probe(), end.channel.probe()];
  await answer();
  await Promise.all([...probes, end.channel.probe()]);
  t.equal(pings(), 1);
  t.equal(end.ended, undefined);
});

t.test('and who does not wait for long for one that is busy', async (t) => {
  const { end, clock, answer } = await restingChannel(t);
  end.channel.multiplexer.open(WEB, new RecordingHandler()).shutdown();
  await answer();
  clock.tick(PING_INTERVAL_MS, 1);
  const probed = end.channel.probe();
  clock.tick(PROBE_TIMEOUT_MS, 1);
  clock.tick(200, 1);
  await probed;
  t.equal(end.ended, undefined);
});

t.test('so does a request to a service; one that is open and silent is no load', async (t) => {
  const { end, clock, answer, pings } = await restingChannel(t);
  end.channel.multiplexer.open(CONTROL, new RecordingHandler());
  t.equal(pings(), 1);
  await answer();
  clock.tick(PING_INTERVAL_MS, 1);
  clock.tick(SLOW_PING_INTERVAL_MS, 10);
  t.equal(pings(), 1);
  end.channel.multiplexer.open(CONTROL, new RecordingHandler());
  t.equal(pings(), 2);
  clock.tick(PROBE_TIMEOUT_MS, 1);
  await end.until(() => end.ended !== undefined);
  t.match(end.ended, { code: 'PEER_SILENT' });
});

t.test('while a request waits for its answer the peer is asked at a steady pace', async (t) => {
  const { end, clock, answer, pings } = await restingChannel(t);
  const stream = end.channel.multiplexer.open(WEB, new RecordingHandler());
  await answer();
  clock.tick(PING_INTERVAL_MS, 1);
  clock.tick(SLOW_PING_INTERVAL_MS - 1, 1);
  t.equal(pings(), 1, 'nothing has been said yet');
  clock.tick(1, 1);
  t.equal(pings(), 2);
  await answer();
  stream.shutdown();
  for (let count = 3; count < 10; count++) {
    clock.tick(PING_INTERVAL_MS, 1);
    t.equal(pings(), count);
    await answer();
  }
  stream.reset({ code: 'DONE', message: 'the test is over' });
  clock.tick(PING_INTERVAL_MS, 1);
  t.equal(pings(), 9, 'it has been answered, and nothing is left');
});

for (const [who, announced, handshake] of [
  ['a plain peer', ['ping'], PLAIN_HANDSHAKE],
  ['a peer that this end has not announced pings to', [], HANDSHAKE],
] as [string, Feature[], Buffer][])
  t.test(`${who} is not pinged, and may be silent`, async (t) => {
    const clock = fakeClock(t);
    const { end, peer } = channelInMemory(announced);
    peer.send(handshake);
    await end.until(() => end.peer !== undefined);
    clock.tick(PING_INTERVAL_MS, 10);
    t.equal(end.ended, undefined);
    await closed(end);
  });

t.test('an owner that ends the channel as soon as it is ready leaves no heartbeat behind', async (t) => {
  const clock = fakeClock(t);
  t.teardown(() => mock.restoreAll());
  const { end, peer } = channelInMemory();
  end.onReady = () => end.channel.multiplexer.close({ code: 'DONE', message: 'not wanted' });
  peer.send(HANDSHAKE);
  await end.until(() => end.closed);
  const pings = mock.method(end.channel.multiplexer, 'ping');
  clock.tick(PING_INTERVAL_MS, 10);
  t.equal(pings.mock.callCount(), 0);
  t.equal(end.pool.out, 0);
});

t.test('bytes that were read with the preamble come when the channel has been made', async (t) => {
  const [socket] = memoryPair();
  socket.unread(PLAIN_HANDSHAKE);
  const end = new TunnelEnd(socket, new Signal(), { dialled: true });
  t.equal(end.peer, undefined, 'not while its maker has no channel yet');
  await end.until(() => end.peer !== undefined);
  await closed(end);
});

t.test('closing does not wait for ever for a peer that does not read', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const { end, peer } = channelInMemory();
  peer.send(HANDSHAKE);
  await end.until(() => end.peer !== undefined);
  const { multiplexer } = end.channel;
  while (end.socket.unsent === 0) {
    multiplexer.goAway({ code: 'STOPPING', message: 'x'.repeat(500) });
    await new Promise(setImmediate);
  }
  multiplexer.close({ code: 'DONE', message: 'the test is over' });
  mock.timers.tick(1_999);
  t.equal(end.socket.destroyed, false, 'it still might read');
  mock.timers.tick(1);
  t.equal(end.socket.destroyed, true);
  await end.until(() => end.closed);
  t.equal(end.pool.out, 0);
});

t.test('two ends: round trip, going away, and an end in good order', async (t) => {
  const tunnel = await Tunnel.open(t, { link: 'unix', serve: (socket) => socket.end('x') });
  const { host, guest } = tunnel;
  t.ok(host.peer?.features.has('ping'));
  await turnsUntil(() => host.channel.roundTripMs !== undefined);
  t.ok((host.channel.roundTripMs ?? 0) > 0);
  guest.channel.multiplexer.goAway({ code: 'STOPPING', message: 'the guest stops' });
  await tunnel.until(() => host.goAways.length === 1);
  t.same(host.goAways, [{ code: 'STOPPING', message: 'the guest stops' }]);
  t.equal(host.channel.multiplexer.takesStreams, false);
  await tunnel.close();
  t.same(host.ended, { code: 'DONE', message: 'the test is over' });
  t.same(guest.ended, { code: 'CHANNEL_CLOSED', message: 'the peer closed the channel' });
});

/** A channel on a real socket, and the other socket, whose other end nothing reads. */
async function channelWithPeer(t: Tap, kind: 'unix' | 'tcp'): Promise<{ end: TunnelEnd; peer: RawSocket }> {
  const [socket, peer] = await socketPair(temporaryFolder(t), kind);
  t.teardown(() => peer.reset());
  return { end: new TunnelEnd(socket, new Signal(), { dialled: false }), peer };
}

function channelInMemory(features?: Feature[]): { end: TunnelEnd; peer: RawSocket } {
  const [socket, peer] = memoryPair();
  const options = features ? { dialled: true, features } : { dialled: true };
  return { end: new TunnelEnd(socket, new Signal(), options), peer };
}

async function closed(end: TunnelEnd): Promise<void> {
  end.channel.multiplexer.close({ code: 'DONE', message: 'the test is over' });
  await end.until(() => end.closed);
}

/** Time that passes only when it is told to: for intervals, and for performance.now. */
function fakeClock(t: Tap): { tick(ms: number, times: number): void } {
  let now = 1000;
  mock.timers.enable({ apis: ['setTimeout'] });
  mock.method(performance, 'now', () => now);
  t.teardown(() => {
    mock.timers.reset();
    mock.restoreAll();
  });
  return {
    tick(ms, times) {
      for (let count = 0; count < times; count++) {
        now += ms;
        mock.timers.tick(ms);
      }
    },
  };
}
