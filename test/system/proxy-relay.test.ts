import dgram from 'node:dgram';
import { on, once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import net from 'node:net';
import t, { type Test } from 'tap';
import { handles, type TcpHandle } from '../../protocol/socket/handles.js';
import { connect } from '../e2e/fixtures/pair.js';
import { freePort } from '../fixtures/free-ports.js';
import { WITHOUT_IPV6 } from '../fixtures/ipv6.js';
import { Program, startServer } from '../fixtures/programs.js';
import { checksumOf, Observer, pattern } from '../protocol/fixtures/observer.js';
import { turnsUntil } from '../protocol/fixtures/signal.js';
import { FakeAgent, flags, isSanitized, requireProxy, startBound, UserlandProxy } from './fixtures/proxy.js';

const MIB = 1024 * 1024;
/** What the proxy may take up, with and without connections. */
const MAX_RESIDENT_KIB = 2 * 1024;
const CLIENTS = 1000;
const BLOCK = Buffer.alloc(64 * 1024, 'x');

if (requireProxy(t) !== undefined) {
  t.test('TCP inside the VM', async (t) => {
    const agent = await FakeAgent.start(t);

    await t.test('half-closes are kept, the client first', async (t) => {
      const server = await startServer(t, (socket) => {
        void readAll(socket).then((question) => socket.end(`answer to ${question}`));
      });
      const { port } = await startBound(t, agent, 'tcp', '127.0.0.1', `127.0.0.1:${server}`);
      t.equal(await exchange(port, 'question'), 'answer to question');
    });

    await t.test('and the server first', async (t) => {
      let heard: Promise<string> | undefined;
      const server = await startServer(t, (socket) => {
        socket.end('all there is');
        heard = readAll(socket);
      });
      const { port } = await startBound(t, agent, 'tcp', '127.0.0.1', `127.0.0.1:${server}`);
      const client = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true });
      t.equal(await readAll(client), 'all there is');
      client.end('then said');
      t.equal(await heard, 'then said');
    });

    await t.test('much in both directions at once, to readers that are slow', async (t) => {
      const server = await startServer(t, (socket) => socket.pipe(socket));
      const { proxy, port } = await startBound(t, agent, 'tcp', '127.0.0.1', `127.0.0.1:${server}`);
      const sent = pattern(32 * MIB);
      const socket = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true });
      socket.pause().end(sent);
      // What is sent and echoed fills every buffer on the way, twice: then the client begins to read.
      await once(socket, 'connect');
      await settled(() => socket.bytesWritten - socket.writableLength);
      const client = new Observer(socket.resume());
      t.equal(await client.checksum(), checksumOf(sent));
      if (!isSanitized()) t.ok(proxy.residentKib < MAX_RESIDENT_KIB, `${proxy.residentKib} KiB`);
    });

    await t.test('resets pass in both directions', async (t) => {
      const server = await startServer(t, (socket) => {
        socket.once('data', () => socket.resetAndDestroy());
      });
      const { port } = await startBound(t, agent, 'tcp', '127.0.0.1', `127.0.0.1:${server}`);
      const client = connect(t, port);
      client.socket.write('go away');
      t.equal(await client.outcome(), 'ECONNRESET');

      const servers: Observer[] = [];
      const waiting = await startServer(t, (socket) => {
        servers.push(new Observer(socket));
        socket.write('hello');
      });
      const second = await startBound(t, agent, 'tcp', '127.0.0.1', `127.0.0.1:${waiting}`);
      const leaving = connect(t, second.port);
      await leaving.until(() => leaving.bytes === 5);
      leaving.socket.resetAndDestroy();
      t.equal(await servers[0]?.outcome(), 'ECONNRESET');
    });

    await t.test('a container that refuses resets its clients', async (t) => {
      const closed = await freePort();
      const { port } = await startBound(t, agent, 'tcp', '127.0.0.1', `127.0.0.1:${closed}`);
      t.equal(await connect(t, port).outcome(), 'ECONNRESET');
    });

    await t.test('at the end connections are reset', async (t) => {
      const server = await startServer(t, (socket) => socket.write('half of it'));
      const { proxy, port } = await startBound(t, agent, 'tcp', '127.0.0.1', `127.0.0.1:${server}`);
      const client = connect(t, port);
      await client.until(() => client.bytes === 10);
      t.equal(await proxy.program.stop('SIGINT'), 0);
      t.equal(await client.outcome(), 'ECONNRESET');
      await agent.until(() => agent.asked.length > 0);
    });

    for (const direction of ['download', 'upload'] as const)
      await t.test(`kill -9 in mid-${direction}: the receiver sees a reset`, async (t) => {
        const servers: Observer[] = [];
        const server = await startServer(t, (socket) => {
          servers.push(new Observer(socket));
          if (direction === 'download') pour(socket);
        });
        for (let count = 0; count < 3; count++) {
          const { proxy, port } = await startBound(t, agent, 'tcp', '127.0.0.1', `127.0.0.1:${server}`);
          const client = connect(t, port);
          if (direction === 'upload') pour(client.socket);
          await turnsUntil(() => servers.length > count);
          const receiver = direction === 'download' ? client : (servers[count] as Observer);
          await receiver.until(() => receiver.bytes > MIB);
          await proxy.program.stop('SIGKILL');
          t.equal(await receiver.outcome(), 'ECONNRESET');
        }
      });

    await t.test('nor does an end in good order lose what its reader has not read yet', async (t) => {
      const answer = pattern(150 * 1024);
      let answered = 0;
      const server = await startServer(t, (socket) => {
        socket.on('end', () => socket.end(answer, () => answered++)).resume();
      });
      const { proxy, port } = await startBound(t, agent, 'tcp', '127.0.0.1', `127.0.0.1:${server}`);
      const idle = descriptorsOf(proxy.pid).length;
      const clients = Array.from({ length: 20 }, () => connect(t, port));
      for (const { socket } of clients) socket.pause().end('question');
      await turnsUntil(() => answered === clients.length);
      // The proxy has closed all its sockets: the answers lie in the kernel.
      await turnsUntil(() => descriptorsOf(proxy.pid).length === idle);
      for (const client of clients) {
        client.socket.resume();
        t.equal(await client.checksum(), checksumOf(answer));
      }
    });

    await t.test(`${CLIENTS} clients at once, time and again, in little memory`, async (t) => {
      const server = await startServer(t, (socket) => {
        void readAll(socket).then((question) => socket.end(question));
      });
      const { proxy, port } = await startBound(t, agent, 'tcp', '127.0.0.1', `127.0.0.1:${server}`);
      const idle = descriptorsOf(proxy.pid).length;
      const resident: number[] = [];
      for (let round = 0; round < 3; round++) {
        const questions = Array.from({ length: CLIENTS }, (_, index) => `question ${index}`);
        const answers = await Promise.all(questions.map((question) => exchange(port, question)));
        t.same(answers, questions);
        resident.push(proxy.residentKib);
      }
      t.comment(`resident: ${resident.join(', ')} KiB`);
      const [first = 0, , last = 0] = resident;
      if (!isSanitized()) t.ok(last < MAX_RESIDENT_KIB && last - first < 64, 'and it does not grow');
      await turnsUntil(() => descriptorsOf(proxy.pid).length === idle);
    });

    await t.test('clients that there are no descriptors for wait for their turn', async (t) => {
      const waiting: net.Socket[] = [];
      let answering = false;
      const server = await startServer(t, (socket) => {
        if (answering) socket.end('at last');
        else waiting.push(socket);
      });
      const { proxy, port } = await startBound(t, agent, 'tcp', '127.0.0.1', `127.0.0.1:${server}`, {
        descriptors: 30,
      });
      const answers = Array.from({ length: 60 }, () => exchange(port, ''));
      await proxy.program.line(/clients inside the VM have to wait: Too many open files/);
      answering = true;
      for (const socket of waiting) socket.end('at last');
      t.same(await Promise.all(answers), Array(60).fill('at last'));
    });

    await t.test('IPv6', { skip: WITHOUT_IPV6 }, async (t) => {
      const server = await startServer(t, (socket) => socket.end('hello'));
      const { port } = await startBound(t, agent, 'tcp', '[::]', `127.0.0.1:${server}`);
      t.equal(await readAll(net.connect({ host: '::1', port })), 'hello');
      t.equal(await connect(t, port).outcome(), 'ECONNREFUSED', 'IPv4 is another forward');
    });
  });

  t.test('a port that cannot be had inside the VM', async (t) => {
    const agent = await FakeAgent.start(t);
    const taken = await startServer(t, (socket) => socket.end());
    const start = (host: string, ...more: string[]): UserlandProxy =>
      new UserlandProxy(t, agent, [...flags('tcp', host, '127.0.0.1:9'), ...more]);

    const effort = start(`127.0.0.1:${taken}`);
    t.equal(await effort.status, '0\n', 'is forwarded all the same');
    t.match(effort.program.lines, [
      /not to be had at tcp 127\.0\.0\.1:\d+ inside the VM: Address already in use/,
    ]);
    const strict = start(`127.0.0.1:${taken}`, '-local-bind', 'always');
    t.match(
      await strict.status,
      /^1\ncannot listen on tcp .* inside the VM: Address already in use; free it/,
    );
    t.equal(await strict.program.exit(), 1);
    // TEST-NET-1: no machine has it.
    for (const how of ['best-effort', 'always']) {
      const elsewhere = start('192.0.2.1:8080', '-local-bind', how);
      t.equal(await elsewhere.status, '0\n', 'only the host has it');
      t.same(elsewhere.program.lines, []);
    }
  });

  t.test('a socket that dockerd has bound', async (t) => {
    const agent = await FakeAgent.start(t);
    const server = await startServer(t, (socket) => socket.end('hello'));
    const start = (port: number, socket: number, ...more: string[]): UserlandProxy => {
      const forward = flags('tcp', `127.0.0.1:${port}`, `127.0.0.1:${server}`);
      return new UserlandProxy(t, agent, [...forward, '-use-listen-fd', ...more], { socket });
    };

    for (const listening of [true, false]) {
      const bound = await bindTcp(listening);
      const proxy = start(bound.port, bound.descriptor);
      t.equal(await proxy.status, '0\n');
      bound.close();
      t.equal(await readAll(net.connect(bound.port, '127.0.0.1')), 'hello');
    }
    for (const listening of [true, false]) {
      const bound = await bindTcp(listening);
      // As a dockerd would that keeps it.
      Program.start(t, 'sleep', ['600'], { descriptors: [bound.descriptor] });
      const proxy = start(bound.port, bound.descriptor, '-local-bind', 'never');
      t.equal(await proxy.status, '0\n');
      bound.close();
      t.equal(await connect(t, bound.port).outcome(), 'ECONNREFUSED', 'nobody waits for an accept');
    }
    const udp = await bindUdp('127.0.0.1');
    t.match(
      await start(udp.port, udp.descriptor).status,
      /^1\n-use-listen-fd: descriptor 4 is no socket for tcp$/,
    );
    udp.close();
  });

  t.test('UDP inside the VM', async (t) => {
    const agent = await FakeAgent.start(t);

    await t.test('each client gets its own answers, from the address that it has asked', async (t) => {
      const container = await echoServer(t, '127.0.0.1');
      const bound = await bindUdp('0.0.0.0');
      const forward = flags('udp', `0.0.0.0:${bound.port}`, `127.0.0.1:${container.port}`);
      const proxy = new UserlandProxy(t, agent, [...forward, '-use-listen-fd'], { socket: bound.descriptor });
      t.equal(await proxy.status, '0\n');
      bound.close();
      const clients = await Promise.all(
        ['127.0.0.1', '127.0.0.5', '127.0.0.1'].map((ip) => UdpClient.connect(t, ip, bound.port)),
      );
      for (const size of [0, 1, 1400, 60_000]) {
        const questions = clients.map((_, index) => Buffer.alloc(size, index));
        const answers = clients.map((client, index) => client.ask(questions[index] ?? Buffer.alloc(0)));
        t.same(await Promise.all(answers), questions);
      }
      t.equal(new Set(container.clients).size, 3, 'the container has seen three clients');
      if (!isSanitized()) t.ok(proxy.residentKib < MAX_RESIDENT_KIB);
    });

    await t.test('a container that does not listen yet is no reason to stop', async (t) => {
      const container = await freePort();
      const { port } = await startUdp(t, agent, `127.0.0.3:${container}`);
      const client = await UdpClient.connect(t, '127.0.0.1', port);
      for (let count = 0; count < 5; count++) client.socket.send('too early');
      const late = await echoServer(t, '127.0.0.3', container);
      await client.insist('now');
      t.equal(new Set(late.clients).size, 1);
    });

    await t.test('when there are no descriptors for more, the longest idle flow gives way', async (t) => {
      const container = await echoServer(t, '127.0.0.1');
      const { proxy, port } = await startUdp(t, agent, `127.0.0.1:${container.port}`, 30);
      const clients = await Promise.all(
        Array.from({ length: 60 }, () => UdpClient.connect(t, '127.0.0.1', port)),
      );
      for (const [index, client] of [...clients, ...clients].entries())
        t.equal((await client.ask(Buffer.from(`number ${index}`))).toString(), `number ${index}`);
      t.same(proxy.program.lines, []);
    });

    await t.test('IPv6', { skip: WITHOUT_IPV6 }, async (t) => {
      const container = await echoServer(t, '127.0.0.1');
      const bound = await bindUdp('::');
      const forward = flags('udp', `[::]:${bound.port}`, `127.0.0.1:${container.port}`);
      const proxy = new UserlandProxy(t, agent, [...forward, '-use-listen-fd'], { socket: bound.descriptor });
      t.equal(await proxy.status, '0\n');
      bound.close();
      const client = await UdpClient.connect(t, '::1', bound.port);
      t.equal((await client.ask(Buffer.from('six'))).toString(), 'six');
    });
  });
}

/** A proxy that has bound a UDP port of 127.0.0.1 by itself. */
function startUdp(t: Test, agent: FakeAgent, container: string, descriptors?: number) {
  return startBound(
    t,
    agent,
    'udp',
    '127.0.0.1',
    container,
    descriptors === undefined ? {} : { descriptors },
  );
}

/** Sends a question to its end, and returns the whole answer. */
async function exchange(port: number, question: string): Promise<string> {
  const client = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  client.end(question);
  return readAll(client);
}

/** Everything up to the other end's last byte; this end's direction stays open. */
async function readAll(socket: net.Socket): Promise<string> {
  let all = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    all += chunk;
  });
  await once(socket, 'end');
  return all;
}

/** Writes without end, as fast as it is read. */
function pour(socket: net.Socket): void {
  const more = (): void => {
    while (socket.writable && socket.write(BLOCK));
  };
  socket.on('drain', more);
  more();
}

/** Resolves when a number has not changed for many turns of the event loop: what was to happen has happened. */
async function settled(number: () => number): Promise<void> {
  let last = number();
  for (let same = 0; same < 1000; same++) {
    await new Promise(setImmediate);
    if (number() !== last) same = 0;
    last = number();
  }
}

function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`);
}

interface Bound {
  port: number;
  descriptor: number;
  close(): void;
}

/** A bound TCP socket of 127.0.0.1, as dockerd may hand over. */
async function bindTcp(listening: boolean): Promise<Bound> {
  if (!listening) return bindOnly();
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  return { port, descriptor: findDescriptor('tcp', port), close: () => server.close() };
}

/** node:net itself only binds in order to listen. */
function bindOnly(): Bound {
  const handle = handles?.makeTcp() as unknown as TcpHandle & { bind(ip: string, port: number): number };
  if (handle.bind('127.0.0.1', 0) !== 0) throw new Error('cannot bind');
  const bound = { address: '', port: 0 };
  handle.getsockname?.(bound);
  return { port: bound.port, descriptor: handle.fd, close: () => handle.close(() => {}) };
}

async function bindUdp(ip: string, port = 0): Promise<Bound & { socket: dgram.Socket }> {
  const type = ip.includes(':') ? 'udp6' : 'udp4';
  const socket = dgram.createSocket({ type, ...(type === 'udp6' && { ipv6Only: true }) }).bind(port, ip);
  await once(socket, 'listening');
  const bound = socket.address().port;
  const descriptor = findDescriptor(type === 'udp6' ? 'udp6' : 'udp', bound);
  return { port: bound, descriptor, socket, close: () => socket.close() };
}

/** This process's descriptor of a socket that is bound to `port`. */
function findDescriptor(table: 'tcp' | 'udp' | 'udp6', port: number): number {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const inodes = readFileSync(`/proc/self/net/${table}`, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((words) => words[1]?.endsWith(local))
    .map((words) => `socket:[${words[9]}]`);
  const own = readdirSync('/proc/self/fd').find((fd) => inodes.includes(linkOf(fd)));
  if (own === undefined) throw new Error(`no ${table} socket of port ${port}`);
  return Number(own);
}

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    // The one that the folder itself was read with.
    return '';
  }
}

/** Sends every datagram back, and notes who has sent it. */
async function echoServer(t: Test, ip: string, port = 0): Promise<{ port: number; clients: string[] }> {
  const clients: string[] = [];
  const { socket, port: bound } = await bindUdp(ip, port);
  socket.on('message', (message, from) => {
    clients.push(`${from.address}:${from.port}`);
    socket.send(message, from.port, from.address);
  });
  t.teardown(() => socket.close());
  return { port: bound, clients };
}

/** A client that takes answers only from where it has asked. */
class UdpClient {
  readonly socket: dgram.Socket;

  private constructor(socket: dgram.Socket) {
    this.socket = socket;
  }

  static async connect(t: Test, ip: string, port: number): Promise<UdpClient> {
    const socket = dgram.createSocket(ip.includes(':') ? 'udp6' : 'udp4');
    socket.connect(port, ip);
    await once(socket, 'connect');
    t.teardown(() => socket.close());
    return new UdpClient(socket);
  }

  async ask(question: Buffer): Promise<Buffer> {
    const answer = once(this.socket, 'message') as Promise<[Buffer]>;
    this.socket.send(question);
    return (await answer)[0];
  }

  /** Asks until there is an answer to this very question, as UDP's clients do. */
  async insist(question: string): Promise<void> {
    const again = setInterval(() => this.socket.send(question), 50);
    try {
      for await (const [answer] of on(this.socket, 'message')) if (String(answer) === question) return;
    } finally {
      clearInterval(again);
    }
  }
}
