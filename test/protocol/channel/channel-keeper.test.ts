import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { OperationError } from '../../../protocol/errors.js';
import type { ChannelAddress } from '../../../protocol/transport/channel-address.js';
import { checkConnectable, connectChannel } from '../../../protocol/transport/connect-channel.js';
import { encodeHandshakePayload } from '../../../protocol/wire/handshake.js';
import { DEBUG, ERROR, INFO, WARN } from '../../fixtures/log-recorder.js';
import { Peer, StreamRecorder } from '../../fixtures/peer.js';
import { temporaryFolder } from '../../fixtures/programs.js';
import { type Kept, makeKeeper, STOPPED } from './fixtures/keeper.js';

const LONG_MS = 60_000;

/** Connects, sends bytes that are no handshake, and waits until it is turned away. */
async function intrude({ address }: Kept, bytes: string): Promise<void> {
  const socket = net.connect(address as { kind: 'unix'; path: string });
  socket.on('error', () => {});
  if (bytes !== '') socket.write(bytes);
  await once(socket.resume(), 'close');
}

t.test('a keeper that listens has a channel when a peer comes, and then the next', async (t) => {
  const kept = makeKeeper(t, 'listen');
  const { keeper, owner, log, address } = kept;
  await keeper.start();
  t.match(keeper.state, { state: 'waiting', mode: 'listen', reconnects: 0, streams: 0, peer: undefined });
  t.equal(keeper.multiplexer, undefined);

  const first = await Peer.connect(t, address);
  await owner.signal.until(() => owner.ups === 1);
  t.match(keeper.state, { state: 'connected', peer: { version: 'test' }, lastError: undefined });
  t.ok(keeper.multiplexer?.takesStreams);
  first.open({ proto: 'tcp', ip: '127.0.0.1', port: 80 });
  await owner.signal.until(() => owner.streams.length === 1);
  t.equal(keeper.state.streams, 1);

  await intrude(kept, '');
  t.match(await log.line(/second peer/), { level: WARN });
  t.equal(keeper.state.state, 'connected', 'the first goes on');

  first.close();
  await owner.signal.until(() => owner.downs.length === 1);
  t.match(keeper.state, { state: 'waiting', lastError: 'the peer closed the channel' });
  t.match(await log.line(/^no channel/), { level: WARN, msg: /waiting for the next one/ });

  const plain = net.connect(address as { kind: 'unix'; path: string });
  t.teardown(() => plain.destroy());
  plain.write(encodeHandshakePayload(Buffer.alloc(0)));
  await owner.signal.until(() => owner.ups === 2);
  t.match(keeper.state, { state: 'connected', reconnects: 1, peer: { version: undefined } });
  t.match(await log.line(/^the channel is up/, 2), { level: INFO, msg: /with a plain peer/ });
});

t.test(
  'a bug of ours that ends a channel is logged with its stack, and the next channel comes',
  async (t) => {
    const { keeper, owner, log, address } = makeKeeper(t, 'listen');
    await keeper.start();
    owner.onStream = function onStream(): void {
      throw new TypeError('no such thing');
    };
    const peer = await Peer.connect(t, address);
    peer.open({ proto: 'tcp', ip: '127.0.0.1', port: 80 });
    const line = await log.line(/bug of portferry/);
    t.match(line, { level: ERROR, msg: /no such thing; please report it/, err: { stack: /onStream/ } });
    await owner.signal.until(() => owner.downs.length === 1);
    t.same(owner.downs, [{ code: 'INTERNAL', message: 'no such thing' }]);
    await Peer.connect(t, address);
    await owner.signal.until(() => owner.ups === 2);
  },
);

t.test('what a peer does wrong is logged with its code, and without a stack', async (t) => {
  const kept = makeKeeper(t, 'listen');
  await kept.keeper.start();
  await intrude(kept, 'GET / HTTP/1.1\r\n');
  const line = await kept.log.line(/does not speak the multiplexer protocol/);
  t.match(line, { level: WARN, code: 'NOT_A_MULTIPLEXER' });
  t.equal(line['err'], undefined);
  t.same(kept.log.matching(/bug/), []);
});

t.test('a peer that says nothing gives way to the next', async (t) => {
  const { keeper, owner, log, address } = makeKeeper(t, 'listen');
  await keeper.start();
  const silent = net.connect(address as { kind: 'unix'; path: string });
  t.teardown(() => silent.destroy());
  await once(silent, 'connect');
  await Peer.connect(t, address);
  await owner.signal.until(() => owner.ups === 1);
  t.match(await log.line(/another peer came/), { level: WARN, code: 'SUPERSEDED' });
  await once(silent.resume(), 'close');
  t.equal(keeper.state.state, 'connected');
});

t.test('a peer that is no multiplexer is logged with its first bytes, each time', async (t) => {
  const kept = makeKeeper(t, 'listen');
  await kept.keeper.start();
  for (const count of [1, 2]) {
    await intrude(kept, 'GET / HTTP/1.1\r\n');
    const line = await kept.log.line(/^no channel/, count);
    t.match(line, { level: WARN, code: 'NOT_A_MULTIPLEXER', msg: /GET \/ HTTP/ });
  }
  await Peer.connect(t, kept.address);
  await kept.owner.signal.until(() => kept.owner.ups === 1);
  t.equal(kept.keeper.state.state, 'connected', 'the next real peer is served');
  t.equal(kept.owner.downs.length, 0, 'what never was up does not go down');
});

t.test('a keeper that connects tries until it works, and logs an outage once', async (t) => {
  const { keeper, owner, log, address } = makeKeeper(t, 'connect');
  await keeper.start();
  t.match(await log.line(/^no channel/), { level: WARN, msg: /ENOENT.*connecting again until it works/ });
  t.match(await log.line(/^no channel/, 2), { level: DEBUG });
  t.match(keeper.state, { state: 'waiting', mode: 'connect', lastError: /ENOENT/, lastErrorAt: Date });

  const peer = await Peer.listen(t, address);
  await owner.signal.until(() => owner.ups === 1);
  await peer.until(() => peer.connected);
  const before = log.matching(/^no channel/).length;
  peer.close();
  await owner.signal.until(() => owner.downs.length === 1);
  t.match(await log.line(/^no channel/, before + 1), { level: WARN });

  const next = await Peer.listen(t, address);
  await owner.signal.until(() => owner.ups === 2);
  await next.until(() => next.connected);
});

t.test('whether a peer is there can be asked at any time, also when there is none', async (t) => {
  const { keeper, owner, address } = makeKeeper(t, 'listen');
  await keeper.start();
  await keeper.probe();
  t.match(keeper.state, { state: 'waiting', lastErrorAt: undefined });
  const peer = await Peer.connect(t, address);
  await owner.signal.until(() => owner.ups === 1);
  await keeper.probe();
  t.equal(keeper.state.state, 'connected');
  peer.close();
  await owner.signal.until(() => owner.downs.length === 1);
  t.type(keeper.state.lastErrorAt, Date);
});

t.test('stopping lets streams finish, and tells the peer', async (t) => {
  const { keeper, owner, log, address } = makeKeeper(t, 'listen');
  await keeper.start();
  const peer = await Peer.connect(t, address);
  const opened = peer.open({ proto: 'tcp', ip: '127.0.0.1', port: 80 });
  await owner.signal.until(() => owner.streams.length === 1);
  const stopped = keeper.stop(STOPPED, LONG_MS);
  await peer.until(() => peer.goAways.length > 0);
  t.match(peer.goAways, [STOPPED]);
  t.notOk(peer.multiplexer.takesStreams);
  opened.stream.reset({ code: 'DONE', message: 'that is all' });
  owner.streams[0]?.reset({ code: 'DONE', message: 'that is all' });
  await stopped;
  await peer.until(() => peer.ended !== undefined);
  t.equal(log.matching(/^no channel/).length, 0, 'an end on purpose is no outage');
});

t.test('streams that do not finish in time are lost', async (t) => {
  const { keeper, owner, log, address } = makeKeeper(t, 'listen');
  await keeper.start();
  const peer = await Peer.connect(t, address);
  const opened = peer.open({ proto: 'tcp', ip: '127.0.0.1', port: 80 });
  await owner.signal.until(() => owner.streams.length === 1);
  await keeper.stop(STOPPED, 1);
  t.match(log.matching(/^connections are reset that have not finished within/), [{ connections: 1 }]);
  await peer.until(() => opened.end !== undefined);
  t.match(opened.end, { how: 'lost' });
});

t.test('streams in which nothing is under way are reset soon, and the others are waited for', async (t) => {
  const { keeper, owner, log, address } = makeKeeper(t, 'listen');
  await keeper.start();
  const peer = await Peer.connect(t, address);
  const web = { proto: 'tcp', ip: '127.0.0.1', port: 80 } as const;
  const [silent, answered, asking] = [peer.open(web), peer.open(web), peer.open(web)];
  await owner.signal.until(() => owner.streams.length === 3);
  const served = owner.streams.map(
    (stream) =>
      new StreamRecorder(owner.signal, (handler) => {
        stream.accept(handler);
        return stream;
      }),
  );
  answered.send('a request');
  asking.send('another');
  await owner.signal.until(() => served[1]?.received !== '' && served[2]?.received !== '');
  served[1]?.send('its answer');
  await peer.until(() => answered.received !== '');

  const stopped = keeper.stop(STOPPED, LONG_MS);
  await peer.until(() => silent.end !== undefined && answered.end !== undefined);
  for (const stream of [silent, answered]) t.match(stream.end, { how: 'reset', reason: STOPPED });
  for (const stream of served.slice(0, 2)) t.match(stream.end, { how: 'reset', reason: STOPPED });
  t.match(await log.line(/^waiting until connections have finished/), {
    level: WARN,
    connections: 1,
    msg: /\(1 in use\), for at most 60 s; a second signal, such as Ctrl-C, ends them at once$/,
  });
  t.equal(asking.end, undefined);
  served[2]?.send('its answer, too');
  await peer.until(() => asking.received !== '');
  await stopped;
  await peer.until(() => asking.end !== undefined);
  t.match(asking.end, { how: 'reset', reason: STOPPED }, 'it was idle then');
  t.equal(log.matching(/^waiting until/).length, 1);
});

t.test('a channel that dies while its streams finish ends the waiting', async (t) => {
  const { keeper, owner, address } = makeKeeper(t, 'listen');
  await keeper.start();
  const peer = await Peer.connect(t, address);
  peer.open({ proto: 'tcp', ip: '127.0.0.1', port: 80 });
  await owner.signal.until(() => owner.streams.length === 1);
  const stopped = keeper.stop(STOPPED, LONG_MS);
  peer.close();
  await stopped;
  t.equal(keeper.multiplexer, undefined);
});

t.test('that a peer stops with nothing in use is told by its end alone', async (t) => {
  const { keeper, log, address } = makeKeeper(t, 'listen');
  await keeper.start();
  const peer = await Peer.connect(t, address);
  peer.multiplexer.goAway({ code: 'STOPPED', message: 'the guest was told to stop' });
  t.match(await log.line(/takes no new streams/), { level: DEBUG });
  peer.close();
  t.match(await log.line(/^no channel/), {
    level: INFO,
    msg: 'no channel: the guest was told to stop; waiting for the next one',
  });
});

t.test("the peer's wish to stop is logged while connections are in use", async (t) => {
  const { keeper, owner, log, address } = makeKeeper(t, 'listen');
  await keeper.start();
  const peer = await Peer.connect(t, address);
  await owner.signal.until(() => owner.ups === 1);
  const destination = { proto: 'tcp', ip: '127.0.0.1', port: 80 } as const;
  new StreamRecorder(owner.signal, (handler) => keeper.open(destination, handler));
  peer.multiplexer.goAway({ code: 'STOPPED', message: 'the guest was told to stop' });
  t.match(await log.line(/takes no new streams/), { level: INFO, msg: /the guest was told to stop/ });
  t.equal(keeper.multiplexer?.takesStreams, false);
  t.equal(owner.downs.length, 0);
});

t.test('stopping is possible at any moment', async (t) => {
  const retrying = makeKeeper(t, 'connect');
  await retrying.keeper.start();
  await retrying.log.line(/^no channel/);
  await retrying.keeper.stop(STOPPED, LONG_MS);

  const connecting = makeKeeper(t, 'connect');
  await connecting.keeper.start();
  await connecting.keeper.stop(STOPPED, LONG_MS);

  const beginning = makeKeeper(t, 'listen');
  const started = beginning.keeper.start();
  await beginning.keeper.stop(STOPPED, LONG_MS);
  await started;
  await t.rejects(Peer.connect(t, beginning.address), OperationError, 'it does not listen');
});

t.test('a connection that is made while it stops is broken off', async (t) => {
  const stopMeanwhile: typeof connectChannel = async (to, options) => {
    const socket = await connectChannel(to, options);
    void keeper.stop(STOPPED, LONG_MS);
    return socket;
  };
  const mocked = await t.mockImport<typeof import('../../../protocol/channel/channel-keeper.js')>(
    '../../../protocol/channel/channel-keeper.js',
    { '../../../protocol/transport/connect-channel.ts': { connectChannel: stopMeanwhile, checkConnectable } },
  );
  const { keeper, owner, address } = makeKeeper(t, 'connect', { Keeper: mocked.ChannelKeeper });
  const peer = await Peer.listen(t, address);
  await keeper.start();
  await peer.until(() => peer.ended !== undefined);
  t.match(peer.ended, { message: /before its handshake was complete/ });
  t.equal(owner.ups, 0);
});

t.test('an address that cannot be listened on is an error', async (t) => {
  const address = { kind: 'unix', path: join(temporaryFolder(t), 'no', 'such', 'folder', 's') } as const;
  await t.rejects(makeKeeper(t, 'listen', { address }).keeper.start(), OperationError);
});

t.test('the state names the port that was chosen', async (t) => {
  const { keeper, address } = makeKeeper(t, 'listen', {
    address: { kind: 'tcp', host: '127.0.0.1', port: 0 },
  });
  await keeper.start();
  t.match(keeper.state.address, /^tcp:127\.0\.0\.1:[1-9]\d*$/);
  t.equal(address.kind, 'tcp');
});

t.test('a path that no socket can have is refused at once, also by who connects', async (t) => {
  const path = join(temporaryFolder(t), 'd'.repeat(120));
  const addresses: ChannelAddress[] = [
    { kind: 'unix', path },
    { kind: 'hyperkit', dir: path, port: 1 },
    { kind: 'firecracker', path, port: 1 },
  ];
  for (const mode of ['connect', 'listen'] as const)
    for (const address of addresses) {
      const { keeper } = makeKeeper(t, mode, { address });
      await t.rejects(keeper.start(), {
        name: 'OperationError',
        message: /^the socket path .* is \d+ bytes long, and this system takes 10[37]; choose a shorter one$/,
      });
    }
});
