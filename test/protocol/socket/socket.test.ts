import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { connectSocket } from '../../../protocol/socket/connect-socket.js';
import { type Handles, handles } from '../../../protocol/socket/handles.js';
import { startPlainServer, startRawServer, temporaryFolder } from '../transport/fixtures/pairs.js';
import { Recorder } from '../transport/fixtures/recorder.js';

/** More than the kernel's buffers of a connection hold. */
const MUCH = 16 * 1024 * 1024;

for (const internals of [handles, null]) {
  const how = internals ? 'on handles' : 'on node:net';
  t.test(`sockets ${how}`, (t) => {
    testSockets(t, internals);
    t.end();
  });
}

function testSockets(t: Test, internals: Handles | null): void {
  t.test('connect: bytes sent at once go out when the connection stands', async (t) => {
    const { client, recorder, accepted } = await dial(t);
    t.equal(client.send(Buffer.from('hello')), false, 'not connected yet: the memory is not ours yet');
    const peer = await accepted();
    await recorder.until(() => recorder.sent > 0);
    t.equal(client.unsent, 0);
    const [chunk] = await once(peer, 'data');
    t.equal(String(chunk), 'hello');

    peer.end('bye');
    await recorder.until(() => recorder.ended);
    t.equal(recorder.text, 'bye');
    client.end();
    await recorder.until(() => recorder.closed);
    t.same(recorder.closes, [undefined]);
  });

  t.test('both ends know their addresses, and unix sockets have none', async (t) => {
    const { client, peer } = await connectedClient(t);
    t.same(client.remote, { ip: '127.0.0.1', port: peer.localPort });
    t.same(client.local, { ip: '127.0.0.1', port: peer.remotePort });
    const { client: unix } = await connectedClient(t, join(temporaryFolder(t), 's'));
    t.equal(unix.remote, undefined);
    t.equal(unix.local, undefined);
  });

  t.test('a socket has its descriptor until it is closed', async (t) => {
    const { client, recorder } = await connectedClient(t);
    t.ok(client.fd > 2);
    client.destroy();
    await recorder.until(() => recorder.closed);
    t.ok(client.fd < 0);
  });

  t.test('connect: a refused connection is told with its errno', async (t) => {
    const recorder = new Recorder();
    connectSocket(
      { path: join(temporaryFolder(t), 'absent') },
      recorder,
      () => t.fail('connected'),
      internals,
    );
    await recorder.until(() => recorder.closed);
    t.match(recorder.closes, [{ code: 'ENOENT' }]);
  });

  t.test('connect: a reset before the connection stands gives it up, and the peer sees no end', async (t) => {
    const { server, address, accepted } = await startRawServer();
    t.teardown(() => server.close());
    const recorder = new Recorder();
    const client = connectSocket(address, recorder, () => t.fail('connected'), internals);
    client.send(Buffer.from('hello'));
    client.reset();
    client.reset();
    t.equal(client.destroyed, true);
    const peer = await accepted();
    const receiver = new Recorder();
    peer.setHandler(receiver);
    peer.resume();
    await Promise.all([recorder, receiver].map((each) => each.until(() => each.closed)));
    t.same(recorder.closes, [undefined]);
    t.match(receiver.closes, [{ code: 'ECONNRESET' }]);
    t.equal(receiver.ended, false, 'for the peer the connection stood already');
  });

  t.test('send: back-pressure, then onSent until nothing is unsent', async (t) => {
    const { client, recorder, peer } = await connectedClient(t);
    peer.pause();
    const block = Buffer.alloc(MUCH / 4, 'x');
    const taken = [client.send(block), client.send(block), client.send(block), client.send(block)];
    t.equal(taken.at(-1), false);
    t.ok(client.unsent > 0);
    client.end();
    peer.resume();
    t.equal(await bytesUntilEnd(peer), MUCH);
    t.equal(client.unsent, 0);
    t.ok(recorder.sent > 0);
    t.equal(recorder.closed, false, 'reading goes on after end()');
    peer.end();
    await recorder.until(() => recorder.closed);
  });

  t.test('closeWhenSent: everything arrives, although the peer never ends', async (t) => {
    const { client, recorder, peer } = await connectedClient(t);
    client.send(Buffer.alloc(MUCH, 'x'));
    client.closeWhenSent();
    t.equal(client.destroyed, false);
    t.equal(await bytesUntilEnd(peer), MUCH);
    await recorder.until(() => recorder.closed);
    t.same(recorder.closes, [undefined]);
  });

  t.test('reset: right after end() the socket closes too', async (t) => {
    const { client, recorder, peer } = await connectedClient(t);
    client.end();
    client.reset();
    peer.resume();
    await recorder.until(() => recorder.closed);
    t.same(recorder.closes, [undefined]);
  });

  t.test('pause and resume: nothing is read between, nothing is lost', async (t) => {
    const { client, recorder, connected, accepted } = await dial(t);
    client.pause();
    const [peer] = await Promise.all([accepted(), connected]);
    peer.write('one');
    client.resume();
    await recorder.until(() => recorder.text === 'one');
    client.pause();
    await new Promise<void>((resolve) => peer.write('two', () => resolve()));
    t.equal(recorder.text, 'one');
    client.resume();
    await recorder.until(() => recorder.text === 'onetwo');
  });

  t.test('unread: the bytes come first, in pieces that the handler takes', async (t) => {
    const { client, peer } = await connectedClient(t);
    client.pause();
    peer.write('world');
    const late = new Recorder(4);
    client.unread(Buffer.from('hello '));
    client.setHandler(late);
    late.wants = () => false;
    client.resume();
    t.equal(late.text, 'hell', 'delivered at once, and no more than was wanted');
    client.resume();
    t.equal(late.text, 'hello ');
    late.wants = () => true;
    client.resume();
    await late.until(() => late.text === 'hello world');
    t.same(late.reads.map((read) => read.length).slice(0, 2), [4, 2], 'each piece fits the memory');
  });

  t.test('unread: nothing is delivered when the socket is gone', async (t) => {
    const { client, recorder } = await connectedClient(t);
    client.pause();
    client.unread(Buffer.from('late'));
    client.reset();
    client.resume();
    await recorder.until(() => recorder.closed);
    t.equal(recorder.text, '');
  });

  t.test('a handler that resets while it is given bytes gets no more of them', async (t) => {
    const { client } = await connectedClient(t);
    client.pause();
    const resetting = new Recorder(2);
    resetting.wants = () => {
      client.reset();
      return true;
    };
    client.setHandler(resetting);
    client.unread(Buffer.from('abcdef'));
    client.resume();
    t.equal(resetting.text, 'ab');
    await resetting.until(() => resetting.closed);
  });

  t.test('a new handler gets what was read into the memory of the one before', async (t) => {
    const { client, recorder, peer } = await connectedClient(t);
    peer.write('first');
    await recorder.until(() => recorder.text === 'first');
    const next = new Recorder(3);
    client.setHandler(next);
    peer.write('second');
    await next.until(() => next.text === 'second');
    t.equal(recorder.text, 'first');
  });

  t.test('a close before the owner has come is told to the owner, once', async (t) => {
    const { server, address, accepted } = await startRawServer(undefined, internals !== null);
    t.teardown(() => server.close());
    const peer = net.connect(address as net.TcpNetConnectOpts).on('error', () => {});
    const socket = await accepted();
    socket.reset();
    t.equal(socket.destroyed, true);
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    const owner = new Recorder();
    socket.setHandler(owner);
    await owner.until(() => owner.closed);
    t.same(owner.closes, [undefined]);
    const second = new Recorder();
    socket.setHandler(second);
    await new Promise(setImmediate);
    t.equal(second.closed, false);
    peer.destroy();
  });

  t.test('a socket without an owner stops reading after the first bytes', async (t) => {
    const { server, address, accepted } = await startRawServer(undefined, internals !== null);
    t.teardown(() => server.close());
    const peer = net.connect({ ...address, allowHalfOpen: true } as net.TcpNetConnectOpts);
    const socket = await accepted();
    socket.resume();
    socket.send(Buffer.alloc(MUCH));
    socket.end();
    peer.end('x');
    t.equal(await bytesUntilEnd(peer), MUCH);
    const owner = new Recorder();
    socket.setHandler(owner);
    socket.resume();
    await owner.until(() => owner.closed);
  });

  /** A RawSocket that begins to connect to a plain node:net server. */
  async function dial(t: Tap, path?: string) {
    const { server, port, accepted } = await startPlainServer(path);
    t.teardown(() => server.close());
    const recorder = new Recorder();
    let onConnect = (): void => {};
    const connected = new Promise<void>((resolve) => {
      onConnect = resolve;
    });
    const address = path === undefined ? { host: '127.0.0.1', port } : { path };
    const client = connectSocket(address, recorder, onConnect, internals);
    t.teardown(() => client.reset());
    return { client, recorder, connected, accepted };
  }

  /** A connected RawSocket, and the server's end of the connection. */
  async function connectedClient(t: Tap, path?: string) {
    const { client, recorder, connected, accepted } = await dial(t, path);
    const [peer] = await Promise.all([accepted(), connected]);
    return { client, recorder, peer };
  }

  /** How many bytes arrive until the other end's FIN. */
  async function bytesUntilEnd(peer: net.Socket): Promise<number> {
    let received = 0;
    peer.on('data', (chunk) => {
      received += chunk.length;
    });
    await once(peer, 'end');
    return received;
  }
}

type Tap = Pick<typeof t, 'teardown'>;
