import { platform } from 'node:os';
import t, { type Test } from 'tap';
import { type Handles, handles } from '../../../protocol/socket/handles.js';
import { loadMessageCalls, type MessageCalls, messageCalls } from '../../../protocol/socket/message-calls.js';
import {
  type DatagramAddress,
  knowsAddressAsked,
  PacketInfoSocket,
} from '../../../protocol/socket/packet-info-socket.js';
import { WITHOUT_IPV6 } from '../../fixtures/ipv6.js';
import { UdpClient } from '../../fixtures/udp-echo.js';
import { Signal } from '../fixtures/signal.js';

const ELSEWHERE = platform() === 'linux' ? false : 'only Linux tells';

interface Datagram {
  payload: Buffer;
  from: DatagramAddress;
  to: DatagramAddress;
}

/** Keeps what comes, and answers it in capitals from where it was asked. */
class Shouter {
  readonly received: Datagram[] = [];
  readonly errors: Error[] = [];
  readonly signal = new Signal();
  readonly socket: PacketInfoSocket;

  constructor(t: Test, ip: string, port = 0, calls?: MessageCalls, internals?: Handles) {
    this.socket = new PacketInfoSocket(ip, port, this, calls, internals);
    t.teardown(() => this.socket.close());
  }

  onDatagram(payload: Buffer, from: DatagramAddress, to: DatagramAddress): void {
    this.received.push({ payload, from, to });
    const failure = this.socket.send(Buffer.from(payload.toString().toUpperCase()), from, to);
    if (failure) this.errors.push(failure);
    this.signal.wake();
  }

  onError(error: Error): void {
    this.errors.push(error);
    this.signal.wake();
  }
}

t.test('the answer comes from the address that was asked', { skip: ELSEWHERE }, async (t) => {
  t.ok(knowsAddressAsked());
  const shouter = new Shouter(t, '0.0.0.0');
  const { port } = shouter.socket.address;
  for (const ip of ['127.0.0.1', '127.0.0.2', '127.1.2.3']) {
    const client = await UdpClient.connect(t, port, ip);
    for (const [index, text] of ['hello', '', 'x'.repeat(60_000)].entries()) {
      client.send(text);
      await client.answers(index + 1);
      t.ok(client.received[index]?.equals(Buffer.from(text.toUpperCase())), `${text.length} bytes`);
      t.match(shouter.received.at(-1), { to: { ip, port }, from: { port: client.socket.address().port } });
    }
  }
  t.same(shouter.errors, []);
});

t.test('over IPv6, too', { skip: ELSEWHERE || WITHOUT_IPV6 }, async (t) => {
  const shouter = new Shouter(t, '::');
  const { port } = shouter.socket.address;
  const client = await UdpClient.connect(t, port, '::1');
  client.send('hello');
  await client.answers(1);
  t.same(client.received.map(String), ['HELLO']);
  t.match(shouter.received, [{ to: { ip: '::1', port }, from: { ip: '::1' } }]);
  // Both families have ports of their own.
  t.equal(new Shouter(t, '0.0.0.0', port).socket.address.port, port);
});

t.test('more datagrams than one turn takes come all the same', { skip: ELSEWHERE }, async (t) => {
  const shouter = new Shouter(t, '0.0.0.0');
  const client = await UdpClient.connect(t, shouter.socket.address.port, '127.0.0.2');
  for (let count = 0; count < 200; count++) client.send(`${count}`);
  await client.answers(200);
  t.equal(shouter.received.length, 200);
});

t.test('what fails says its errno', { skip: ELSEWHERE }, async (t) => {
  const shouter = new Shouter(t, '0.0.0.0');
  const { port } = shouter.socket.address;
  t.throws(() => new Shouter(t, '0.0.0.0', port), {
    code: 'EADDRINUSE',
    message: `bind EADDRINUSE 0.0.0.0:${port}`,
  });
  const to = { ip: '127.0.0.1', port: 9 };
  t.match(shouter.socket.send(Buffer.alloc(65_508), to, to), { code: 'EMSGSIZE', message: 'send EMSGSIZE' });
  t.match(shouter.socket.send(Buffer.alloc(70_000), to, to), { code: 'EMSGSIZE' });
});

/** What the kernel writes: struct msghdr's lengths, the sender at 72, control data at 104. */
type Write = (message: Buffer) => void;

/** A kernel of the test's making. @param receives what recvmsg does, call by call; then there is no more */
function fakeKernel(receives: (Write | 'ENOMEM')[]) {
  const sent: Buffer[] = [];
  const handle = {
    open: () => 0,
    onread: () => {},
    useUserBuffer() {},
    readStart: () => 0,
    close: (done: () => void) => done(),
  };
  let errno = 0;
  const calls: MessageCalls = {
    ...{ socket: () => 7, bind: () => 0, getsockname: () => 0, setsockopt: () => 0, close: () => 0 },
    addressOf: () => 0x1000n,
    errno: () => errno,
    recvmsg: (_fd, message) => {
      const next = receives.shift();
      errno = next === 'ENOMEM' ? 12 : 11;
      if (typeof next !== 'function') return -1;
      next(message);
      return 2;
    },
    sendmsg: (_fd, message) => sent.push(Buffer.from(message)),
  };
  return { calls, sent, handle, internals: { makePipe: () => handle } as unknown as Handles };
}

/** From fe80::1 on interface 2, port 9; to `to`. */
function linkLocal(to: number[]): Write {
  return (message) => {
    message.fill(0, 72);
    message.writeUInt16LE(10, 72);
    message.writeUInt16BE(9, 74);
    message.set([0xfe, 0x80, ...Array(13).fill(0), 1], 80);
    message.writeUInt32LE(2, 96);
    message.writeUInt32LE(40, 40);
    message.writeInt32LE(41, 112);
    message.set(to, 120);
  };
}

t.test('a link has its interface, a group answers as the kernel likes', async (t) => {
  const own = [0xfe, 0x80, ...Array(13).fill(0), 2];
  const group = [0xff, 0x02, ...Array(13).fill(0), 1];
  const silent: Write = (message) => {
    linkLocal(own)(message);
    message.writeUInt32LE(0, 40);
  };
  const { calls, sent, handle, internals } = fakeKernel([linkLocal(own), linkLocal(group), silent]);
  const shouter = new Shouter(t, '::', 53, calls, internals);
  handle.onread();
  t.match(shouter.received, [
    { from: { ip: 'fe80::1%2', port: 9 }, to: { ip: 'fe80::2' } },
    { from: { ip: 'fe80::1%2' }, to: { ip: '::' } },
    { to: { ip: '::' } },
  ]);
  t.equal(sent[0]?.readUInt32LE(96), 2, 'sent back over the same');
  t.equal(sent[0]?.subarray(120, 136).toString('hex'), Buffer.from(own).toString('hex'));
});

t.test('what cannot be received is told; an empty socket is nothing to tell', async (t) => {
  const { calls, handle, internals } = fakeKernel(['ENOMEM']);
  const shouter = new Shouter(t, '0.0.0.0', 53, calls, internals);
  handle.onread();
  handle.onread();
  t.match(shouter.errors, [{ code: 'ENOMEM', message: 'recvmsg ENOMEM' }]);
  t.equal(shouter.errors.length, 1);
  const none = { ...calls, socket: () => -1, errno: () => 24 };
  t.throws(() => new Shouter(t, '0.0.0.0', 53, none, internals), {
    code: 'EMFILE',
    message: 'socket EMFILE',
  });
});

t.test('a socket that is closed delivers nothing any more', async (t) => {
  const write = linkLocal([0xfe, 0x80, ...Array(13).fill(0), 2]);
  const { calls, handle, internals } = fakeKernel([write, write]);
  const shouter = new Shouter(t, '::', 53, calls, internals);
  shouter.socket.send = () => void shouter.socket.close();
  handle.onread();
  t.equal(shouter.received.length, 1);
});

t.test('where the calls, or the structures of the machine, are not known', async (t) => {
  t.equal(loadMessageCalls('darwin arm64'), null);
  const absent = () => {
    throw new Error('no build for this machine');
  };
  t.equal(loadMessageCalls('linux x64', absent), null);
  t.notOk(knowsAddressAsked(null));
  t.notOk(knowsAddressAsked(messageCalls, null));
  t.equal(knowsAddressAsked(), messageCalls !== null && handles !== null);
});
