import { constants } from 'node:os';
import t from 'tap';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import { loadVsockCalls, type VsockCalls } from '../../../protocol/socket/vsock-calls.js';
import { connectVsock, listenVsock } from '../../../protocol/socket/vsock-socket.js';
import { Recorder } from '../transport/fixtures/recorder.js';
import { ANY_CID, freeVsockPort, VsockStandIn } from './fixtures/vsock-stand-in.js';

const options = process.platform === 'linux' ? {} : { skip: 'AF_VSOCK is for Linux' };

t.test('connects and accepts, and keeps half-closes apart', options, async (t) => {
  const { vsock, port, accepted } = await listen(t);
  const client = await connectVsock(vsock.means, { cid: 3, port });
  const { socket, cid } = await accepted();
  t.equal(cid, 3);
  t.same(vsock.dialled, [3]);
  const [atClient, atServer] = [attend(t, client), attend(t, socket)];
  client.send(Buffer.from('request'));
  client.end();
  await atServer.until(() => atServer.ended);
  t.equal(atServer.text, 'request');
  t.equal(atServer.closed, false, 'the other direction goes on');
  socket.send(Buffer.from('answer'));
  socket.end();
  await atClient.until(() => atClient.closed);
  await atServer.until(() => atServer.closed);
  t.equal(atClient.text, 'answer');
  t.same([...atClient.closes, ...atServer.closes], [undefined, undefined]);
});

t.test('says by its errno why it cannot connect, and leaves nothing open', options, async (t) => {
  const vsock = new VsockStandIn();
  const port = await freeVsockPort();
  await t.rejects(connectVsock(vsock.means, { cid: 2, port }), {
    code: 'ECONNREFUSED',
    message: `connect ECONNREFUSED vsock:2:${port}`,
  });
  const causes: [call: keyof VsockCalls, errno: keyof typeof constants.errno, message: string][] = [
    ['socket', 'EAFNOSUPPORT', 'socket EAFNOSUPPORT'],
    ['connect', 'ENODEV', `connect ENODEV vsock:2:${port}`],
    ['getsockopt', 'EBADF', 'getsockopt EBADF'],
    ['epollCreate', 'EMFILE', 'epoll_create1 EMFILE'],
    ['epollControl', 'ENOSPC', 'epoll_ctl ENOSPC'],
  ];
  for (const [call, code, message] of causes) {
    vsock.failures[call] = constants.errno[code];
    await t.rejects(connectVsock(vsock.means, { cid: 2, port }), { code, message });
  }
  t.equal(vsock.open.size, 0);
});

t.test('a connection that stands at once needs no waiting', options, async (t) => {
  const { vsock, port, accepted } = await listen(t);
  const { calls, handles } = vsock.means;
  // The call comes back when the connection stands.
  const waiting: VsockCalls = new Proxy(calls, {
    get: (target, name: keyof VsockCalls) =>
      name === 'connect'
        ? (fd: number, address: Buffer, bytes: number) => {
            target.connect(fd, address, bytes);
            Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
            return 0;
          }
        : target[name].bind(target),
  });
  const client = await connectVsock({ handles, calls: waiting }, { cid: 3, port });
  attend(t, client);
  const { socket } = await accepted();
  const atServer = attend(t, socket);
  client.send(Buffer.from('x'));
  await atServer.until(() => atServer.text === 'x');
  t.equal(atServer.text, 'x');
});

t.test('gives up when it is cancelled', options, async (t) => {
  const { vsock, port } = await listen(t);
  const controller = new AbortController();
  const attempt = connectVsock(vsock.means, { cid: 3, port }, controller.signal);
  controller.abort();
  await t.rejects(attempt, { message: 'it was cancelled' });
  t.equal(vsock.open.size, 1, 'but for the one that listens');
  const later = new AbortController();
  const client = await connectVsock(vsock.means, { cid: 3, port }, later.signal);
  later.abort();
  t.equal(client.destroyed, false, 'a signal means nothing once connected');
  client.destroy();
});

t.test('says by its errno why it cannot listen, and leaves nothing open', options, async (t) => {
  const { vsock, port, owner } = await listen(t);
  t.throws(() => listenVsock(vsock.means, port, owner), { code: 'EADDRINUSE', message: /^bind/ });
  t.equal(vsock.open.size, 1);
  vsock.failures.socket = constants.errno.EAFNOSUPPORT;
  t.throws(() => listenVsock(vsock.means, port, owner), { code: 'EAFNOSUPPORT' });
  const { calls, handles } = vsock.means;
  let closed = 0;
  const listener = { open: () => 0, listen: () => -constants.errno.EADDRINUSE, close: () => closed++ };
  const failing = { ...handles, makePipeListener: () => listener as never };
  const free = await freeVsockPort();
  t.throws(() => listenVsock({ handles: failing, calls }, free, owner), { message: 'listen EADDRINUSE' });
  t.equal(closed, 1);
});

t.test('tells of what could not be accepted, and of a peer that has gone', options, async (t) => {
  const vsock = new VsockStandIn();
  const { calls, handles } = vsock.means;
  const made: { onconnection(status: number, handle?: unknown): void }[] = [];
  const makePipeListener = (): never => {
    const listener = handles.makePipeListener();
    made.push(listener as never);
    return listener as never;
  };
  const errors: Error[] = [];
  const sockets: [RawSocket, number][] = [];
  const close = listenVsock({ handles: { ...handles, makePipeListener }, calls }, await freeVsockPort(), {
    onSocket: (socket, cid) => sockets.push([socket, cid]),
    onError: (error) => errors.push(error),
  });
  t.teardown(close);
  made[0]?.onconnection(-constants.errno.EMFILE);
  t.match(errors, [{ code: 'EMFILE', message: 'accept EMFILE' }]);
  vsock.failures.getpeername = constants.errno.ENOTCONN;
  made[0]?.onconnection(0, handles.makePipe());
  t.match(sockets, [[{}, ANY_CID]]);
  sockets[0]?.[0].destroy();
});

t.test("the calls are Linux's, and need koffi", async (t) => {
  t.equal(loadVsockCalls('darwin'), null);
  const none = (): never => {
    throw new Error('no build');
  };
  t.equal(loadVsockCalls('linux', none), null);
});

type Tap = Pick<typeof t, 'teardown'>;

async function listen(t: Tap) {
  const vsock = new VsockStandIn();
  const port = await freeVsockPort();
  const waiting: ((accepted: Accepted) => void)[] = [];
  const arrived: Accepted[] = [];
  const owner = {
    onSocket: (socket: RawSocket, cid: number) => {
      const waiter = waiting.shift();
      if (waiter) waiter({ socket, cid });
      else arrived.push({ socket, cid });
    },
    onError: (error: Error) => {
      throw error;
    },
  };
  const close = listenVsock(vsock.means, port, owner);
  t.teardown(() => {
    close();
    for (const { socket } of arrived) socket.destroy();
  });
  const accepted = (): Promise<Accepted> =>
    new Promise((resolve) => {
      const ready = arrived.shift();
      if (ready) resolve(ready);
      else waiting.push(resolve);
    });
  return { vsock, port, owner, accepted };
}

interface Accepted {
  socket: RawSocket;
  cid: number;
}

function attend(t: Tap, socket: RawSocket): Recorder {
  t.teardown(() => socket.destroy());
  const recorder = new Recorder();
  socket.setHandler(recorder);
  socket.resume();
  return recorder;
}
