import { once } from 'node:events';
import net from 'node:net';
import { mock } from 'node:test';
import t, { type Test } from 'tap';
import type { ChannelAddress } from '../../../protocol/transport/channel-address.js';
import { encodeHandshake, encodeHandshakePayload, type Feature } from '../../../protocol/wire/handshake.js';
import { WARN } from '../../fixtures/log-recorder.js';
import { Peer } from '../../fixtures/peer.js';
import { Observer } from '../fixtures/observer.js';
import { turnsUntil } from '../fixtures/signal.js';
import { type Kept, makeKeeper, STOPPED } from './fixtures/keeper.js';

const PLAIN = encodeHandshakePayload(Buffer.alloc(0));
const FERRY = encodeHandshake('test', ['ping', 'goaway']);
const GOES_AWAY: Feature[] = ['goaway'];
const DESTINATION = { proto: 'tcp', ip: '127.0.0.1', port: 80 } as const;

/** How long a peer may be silent: so short that a test can wait for it, or so long that none does. */
const SHORT_MS = 50;
const LONG_MS = 60_000;

async function startKeeper(t: Test, signOfLifeMs: number): Promise<Kept> {
  const kept = makeKeeper(t, 'listen', { signOfLifeMs });
  await kept.keeper.start();
  return kept;
}

function connect(t: Test, address: ChannelAddress, bytes: Buffer): net.Socket {
  const socket = net.connect(address as { kind: 'unix'; path: string });
  t.teardown(() => socket.destroy());
  socket.on('error', () => {});
  socket.write(bytes);
  return socket;
}

/** A peer that does nothing any more after its handshake, like a process that was stopped by SIGSTOP. */
async function freeze(t: Test, { owner, address }: Kept, handshake: Buffer): Promise<net.Socket> {
  const socket = connect(t, address, handshake);
  await owner.signal.until(() => owner.ups === 1);
  return socket;
}

/** A peer that comes while there is a channel; resolves when the host looks at the one that it has. */
async function arrive(t: Test, kept: Kept): Promise<net.Socket> {
  const socket = connect(t, kept.address, PLAIN);
  const asked = mock.method(kept.keeper.multiplexer ?? fail(), 'ping');
  const opened = mock.method(kept.keeper.multiplexer ?? fail(), 'open');
  await turnsUntil(() => asked.mock.callCount() + opened.mock.callCount() > 0);
  return socket;
}

function fail(): never {
  throw new Error('there is no channel');
}

for (const [who, handshake] of [
  ['plain', PLAIN],
  ['portferry', FERRY],
] as const) {
  t.test(`a frozen ${who} peer gives way to a newcomer in time`, async (t) => {
    const kept = await startKeeper(t, SHORT_MS);
    const { keeper, owner, log } = kept;
    const frozen = await freeze(t, kept, handshake);
    const began = performance.now();
    const newcomer = await arrive(t, kept);
    await owner.signal.until(() => owner.ups === 2);
    t.ok(performance.now() - began >= SHORT_MS - 1, 'it had time to answer');
    t.match(owner.downs, [{ code: 'PEER_SILENT', message: /no sign of life for 0\.05 s while another/ }]);
    t.match(await log.line(/^no channel/), { level: WARN, msg: /the next one is there$/ });
    t.equal(keeper.state.peer?.version, undefined, 'the newcomer is the channel');
    await new Observer(frozen).outcome();
    newcomer.destroy();
    await owner.signal.until(() => owner.downs.length === 2);
  });

  t.test(`a ${who} peer that has an Open unanswered gives way, too, and the stream is lost`, async (t) => {
    const kept = await startKeeper(t, SHORT_MS);
    await freeze(t, kept, handshake);
    const ends: unknown[] = [];
    const nothing = (): void => {};
    kept.keeper.multiplexer?.open(DESTINATION, {
      ...{ onData: nothing, onShutdown: nothing, onWritable: nothing, onOpenResult: nothing },
      onClosed: (end) => ends.push(end),
    });
    await arrive(t, kept);
    await kept.owner.signal.until(() => kept.owner.ups === 2);
    t.match(ends, [{ how: 'lost', reason: { code: 'PEER_SILENT' } }]);
  });
}

t.test('a portferry peer that is alive keeps its place', async (t) => {
  const kept = await startKeeper(t, LONG_MS);
  const peer = await Peer.connect(t, kept.address);
  const newcomer = new Observer(connect(t, kept.address, FERRY));
  await newcomer.until(() => newcomer.closed);
  t.match(await kept.log.line(/second peer/), { level: WARN, msg: /turned away, for that one answers$/ });
  t.ok(peer.connected);
  t.equal(kept.owner.ups, 1);

  const asked = mock.method(kept.keeper.multiplexer ?? fail(), 'ping');
  const next = new Observer(connect(t, kept.address, FERRY));
  await next.until(() => next.closed);
  t.match(await kept.log.line(/second peer/, 2), { msg: /for that one answers$/ });
  t.equal(asked.mock.callCount(), 0, 'it has answered just now: it is not asked for each');
});

t.test(
  'a plain peer that is alive and idle keeps its place: it is asked by an Open to nowhere',
  async (t) => {
    const kept = await startKeeper(t, LONG_MS);
    const peer = await Peer.connect(t, kept.address, []);
    const newcomer = new Observer(connect(t, kept.address, PLAIN));
    const asked = await peer.accept();
    t.match(asked.stream.destination, { proto: 'unix', path: '/portferry/are-you-there' });
    await newcomer.until(() => newcomer.closed);
    await peer.until(() => asked.end !== undefined);
    asked.stream.reset({ code: 'ENOENT', message: 'no such path' });
    await turnsUntil(() => kept.keeper.state.streams === 0);
    t.ok(peer.connected);
    t.equal(kept.owner.ups, 1);
  },
);

t.test('what has come before the judgement counts, though this process could not read it yet', async (t) => {
  const kept = await startKeeper(t, SHORT_MS);
  const late = await freeze(t, kept, FERRY);
  const newcomer = new Observer(await arrive(t, kept));
  late.write(Buffer.from('0700ff00000000', 'hex'));
  for (const end = performance.now() + 2 * SHORT_MS; performance.now() < end; );
  await newcomer.until(() => newcomer.closed);
  t.equal(kept.owner.downs.length, 0);
});

t.test('while one waits, others are turned away at once', async (t) => {
  const kept = await startKeeper(t, SHORT_MS);
  await freeze(t, kept, PLAIN);
  const first = await arrive(t, kept);
  const second = new Observer(connect(t, kept.address, PLAIN));
  await second.until(() => second.closed);
  t.match(await kept.log.line(/second peer/), { msg: /turned away, for another one waits already$/ });
  await kept.owner.signal.until(() => kept.owner.ups === 2);
  t.notOk(first.destroyed);
});

t.test('a newcomer has the place at once of a peer whose channel ends meanwhile', async (t) => {
  const kept = await startKeeper(t, LONG_MS);
  const frozen = await freeze(t, kept, PLAIN);
  await arrive(t, kept);
  frozen.resume().end();
  await kept.owner.signal.until(() => kept.owner.ups === 2);
  t.match(kept.owner.downs, [{ code: 'CHANNEL_CLOSED' }]);
  t.equal(kept.owner.downs.length, 1, 'the judgement on the old one is not passed on the new one');
});

t.test('a peer that has said that it goes away, and is silent, gives way', async (t) => {
  const kept = await startKeeper(t, SHORT_MS);
  const { owner, keeper, address } = kept;
  const peer = await Peer.connect(t, address, GOES_AWAY);
  peer.multiplexer.goAway(STOPPED);
  await turnsUntil(() => keeper.multiplexer?.takesStreams === false);
  await arrive(t, kept);
  await owner.signal.until(() => owner.ups === 2);
});

t.test('stopping ends the waiting', async (t) => {
  const kept = await startKeeper(t, LONG_MS);
  await freeze(t, kept, PLAIN);
  const newcomer = new Observer(await arrive(t, kept));
  const stopped = kept.keeper.stop(STOPPED, 0);
  await newcomer.until(() => newcomer.closed);
  await stopped;
  t.equal(kept.owner.ups, 1);
});

t.test('whoever connects again and again does not fill the log', async (t) => {
  const kept = await startKeeper(t, LONG_MS);
  const rounds = 20;
  for (let round = 0; round < rounds; round++) {
    const socket = connect(t, kept.address, Buffer.from('GET / HTTP/1.1\r\n'));
    await once(socket.resume(), 'close');
  }
  for (let round = 1; round <= rounds; round++) {
    const socket = connect(t, kept.address, PLAIN);
    await kept.owner.signal.until(() => kept.owner.ups === round);
    socket.resume().end();
    await kept.owner.signal.until(() => kept.owner.downs.length === round);
  }
  t.equal(kept.log.lines.length, 1 + 3 + 3 + 3, 'that it waits, and three of each kind');
  await kept.keeper.stop(STOPPED, 0);
  t.match(kept.log.matching(/the last of/), [
    { more: rounds - 3, msg: /GET \/ HTTP/ },
    { more: rounds - 3, msg: /the channel is up/ },
    { more: rounds - 3, msg: /closed the channel/ },
  ]);
});
