import type dgram from 'node:dgram';
import { EventEmitter } from 'node:events';
import t, { type Test } from 'tap';
import { type UdpHandler, UdpListener } from '../../../host/listen/udp-listener.js';
import { bindUdpSocket, type UdpSocketHandler } from '../../../host/listen/udp-server-socket.js';
import type { PortRule } from '../../../host/rule/forward-rule.js';
import { knowsAddressAsked } from '../../../protocol/socket/packet-info-socket.js';
import type { SourceAddress } from '../../../protocol/wire/extension.js';
import { freePort } from '../../fixtures/free-ports.js';
import { WITHOUT_IPV6 } from '../../fixtures/ipv6.js';
import { LogRecorder } from '../../fixtures/log-recorder.js';
import { UdpClient } from '../../fixtures/udp-echo.js';
import { Signal } from '../../protocol/fixtures/signal.js';

const notExpected = (ip: string): never => {
  throw new Error(`${ip} is missing`);
};

function rule(hostIps: string[], hostPort = 0): PortRule {
  return { proto: 'udp', hostIps, hostPort, destination: { proto: 'udp', ip: '127.0.0.1', port: 53 } };
}

/** Keeps what comes, and sends it back in capitals. */
class Shouter implements UdpHandler {
  readonly received: { text: string; client: SourceAddress; listener: SourceAddress }[] = [];
  readonly failures: string[] = [];
  readonly signal = new Signal();
  closed = 0;
  answer = (text: string): Buffer => Buffer.from(text.toUpperCase());

  onDatagram(...[payload, client, socket]: Parameters<UdpHandler['onDatagram']>): void {
    const text = String(payload);
    this.received.push({ text, client, listener: socket.address });
    socket.send(this.answer(text), client, ({ message }) => {
      this.failures.push(message);
      this.signal.wake();
    });
    this.signal.wake();
  }

  onClose(): void {
    this.closed++;
  }
}

t.test('localhost with a free port: one that is free in both families', { skip: WITHOUT_IPV6 }, async (t) => {
  const listener = await UdpListener.open(rule(['127.0.0.1', '::1']), new LogRecorder().logger, notExpected);
  const { hostPort: port } = listener.rule;
  t.same(listener.addresses, [`127.0.0.1:${port}`, `[::1]:${port}`]);
  const shouter = new Shouter();
  listener.start(shouter);
  for (const ip of ['127.0.0.1', '::1']) {
    const client = await UdpClient.connect(t, port, ip);
    client.send('hello');
    await client.answers(1);
    t.same(client.received.map(String), ['HELLO']);
    t.match(shouter.received.at(-1), { client: { ip }, listener: { ip, port } });
    t.equal(shouter.received.at(-1)?.client.port, client.socket.address().port);
  }
  await listener.close();
  t.equal(shouter.closed, 1);
});

t.test('TCP and UDP, and both families, have ports of their own', { skip: WITHOUT_IPV6 }, async (t) => {
  const { logger } = new LogRecorder();
  const port = await freePort();
  const open = (...ips: string[]) => UdpListener.open(rule(ips, port), logger, notExpected);
  const listeners = [await open('::'), await open('0.0.0.0')];
  await t.rejects(open('127.0.0.1'), {
    name: 'BindError',
    ip: '127.0.0.1',
    port,
    cause: { code: 'EADDRINUSE' },
  });
  await Promise.all(listeners.map((listener) => listener.close()));
  // The port is free again, for others too.
  await (await open('127.0.0.1', '::1')).close();
});

t.test('an address that the machine does not have', async (t) => {
  const { logger } = new LogRecorder();
  await t.rejects(UdpListener.open(rule(['192.0.2.1']), logger, notExpected), {
    cause: { code: 'EADDRNOTAVAIL' },
  });
  const missing: string[] = [];
  const listener = await UdpListener.open(
    rule(['127.0.0.1', '2001:db8::1']),
    logger,
    (ip) => void missing.push(ip),
  );
  t.same(missing, ['2001:db8::1']);
  await listener.close();
});

t.test('an answer that cannot be sent is reported', async (t) => {
  const listener = await UdpListener.open(rule(['127.0.0.1']), new LogRecorder().logger, notExpected);
  t.teardown(() => listener.close());
  const shouter = new Shouter();
  shouter.answer = () => Buffer.alloc(70_000);
  listener.start(shouter);
  (await UdpClient.connect(t, listener.rule.hostPort)).send('hello');
  await shouter.signal.until(() => shouter.failures.length > 0);
  t.match(shouter.failures, [/EMSGSIZE/]);
});

t.test('on a wildcard, clients of every address get their answers from it', async (t) => {
  const listener = await UdpListener.open(rule(['0.0.0.0']), new LogRecorder().logger, notExpected);
  t.teardown(() => listener.close());
  const { hostPort: port } = listener.rule;
  t.same(listener.addresses, [`0.0.0.0:${port}`]);
  const shouter = new Shouter();
  listener.start(shouter);
  for (const ip of knowsAddressAsked() ? ['127.0.0.1', '127.0.0.2'] : ['127.0.0.1']) {
    const client = await UdpClient.connect(t, port, ip);
    client.send('hello');
    await client.answers(1);
    t.same(client.received.map(String), ['HELLO']);
    if (knowsAddressAsked()) t.match(shouter.received.at(-1)?.listener, { ip, port });
  }
  t.same(shouter.failures, []);
  shouter.answer = () => Buffer.alloc(70_000);
  (await UdpClient.connect(t, port)).send('hello');
  await shouter.signal.until(() => shouter.failures.length > 0);
  t.match(shouter.failures, [/EMSGSIZE/]);
});

t.test('a wildcard where the OS does not tell which address was asked', async (t) => {
  const received: string[] = [];
  const signal = new Signal();
  const handler: UdpSocketHandler = {
    onDatagram: (payload, client, { address, send }) => {
      received.push(address.ip);
      send(payload, client, ({ message }) => t.fail(message));
      signal.wake();
    },
    onError: ({ message }) => t.fail(message),
  };
  const socket = await bindUdpSocket('0.0.0.0', 0, handler, false);
  t.teardown(() => socket.close());
  const client = await UdpClient.connect(t, socket.address.port);
  client.send('hello');
  await client.answers(1);
  t.same(received, ['0.0.0.0']);
});

t.test('what a wildcard cannot receive is logged', async (t) => {
  const log = new LogRecorder();
  let fail: (error: Error) => void = () => {};
  const Mocked = await importListener(t, '../../../protocol/socket/packet-info-socket.ts', {
    knowsAddressAsked: () => true,
    PacketInfoSocket: class {
      address = { ip: '0.0.0.0', port: 53 };
      constructor(_ip: string, _port: number, handler: UdpSocketHandler) {
        fail = (error) => handler.onError(error);
      }
      async close(): Promise<void> {}
    },
  });
  const listener = await Mocked.open(rule(['0.0.0.0'], 53), log.logger, notExpected);
  fail(Object.assign(new Error('recvmsg ENOMEM'), { code: 'ENOMEM' }));
  t.match(log.lines, [{ err: { code: 'ENOMEM' }, msg: /listening goes on/ }]);
  await listener.close();
});

/** The listener, with one module below its sockets being the test's. */
async function importListener(t: Test, path: string, module: object): Promise<typeof UdpListener> {
  const sockets = '../../../host/listen/udp-server-socket.ts';
  const real = (await import(path)) as object;
  const mocked = await t.mockImport<object>(sockets, { [path]: { ...real, ...module } });
  const listener = '../../../host/listen/udp-listener.ts';
  return (await t.mockImport<{ UdpListener: typeof UdpListener }>(listener, { [sockets]: mocked }))
    .UdpListener;
}

/** A bound socket of the test's making. */
class FakeSocket extends EventEmitter {
  takes = true;

  bind(_options: dgram.BindOptions, done: () => void): void {
    this.once('bound', done);
    queueMicrotask(() => this.emit('bound'));
  }

  address(): { address: string; port: number } {
    return { address: '127.0.0.1', port: 53 };
  }

  close(done: () => void): void {
    queueMicrotask(done);
  }
}

async function openFake(
  t: Test,
  log = new LogRecorder(),
): Promise<{ socket: FakeSocket; listener: UdpListener }> {
  const socket = new FakeSocket();
  const mocked = await importListener(t, '../../../protocol/socket/udp-socket.ts', {
    createUdpSocket: () => socket,
    takesDatagrams: () => socket.takes,
  });
  return { socket, listener: await mocked.open(rule(['127.0.0.1']), log.logger, notExpected) };
}

t.test('datagrams that come before the start wait for it, but not any number of them', async (t) => {
  const { socket, listener } = await openFake(t);
  const shouter = new Shouter();
  socket.takes = false;
  for (let index = 0; index < 100; index++)
    socket.emit('message', Buffer.from(`${index}`), { address: '127.0.0.1', port: 1000 });
  listener.start(shouter);
  t.equal(shouter.received.length, 64);
  t.match(shouter.received[0], { text: '0', client: { ip: '127.0.0.1', port: 1000 } });
  t.equal(shouter.failures.length, 64);
  t.match(shouter.failures, [/too much waits for the kernel/]);
  await listener.close();
});

t.test('failing receives are logged, not more than one a second', async (t) => {
  const log = new LogRecorder();
  const { socket, listener } = await openFake(t, log);
  for (const _ of [1, 2])
    socket.emit('error', Object.assign(new Error('recvmsg ENOMEM'), { code: 'ENOMEM' }));
  t.match(log.lines, [{ err: { code: 'ENOMEM' }, msg: /listening goes on/, forward: /\/udp$/ }]);
  t.equal(log.lines.length, 1);
  await listener.close();
});
