import { once } from 'node:events';
import net from 'node:net';
import t from 'tap';
import { BindError } from '../../../host/listen/bind-port.js';
import { Listener } from '../../../host/listen/listener.js';
import type { ForwardRule } from '../../../host/rule/forward-rule.js';
import { createLogger } from '../../../protocol/program/logger.js';
import { LOCAL_RECEIVE_BUFFER_BYTES } from '../../../protocol/socket/buffers.js';
import type { TcpHandle } from '../../../protocol/socket/handles.js';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import { freePort } from '../../fixtures/free-ports.js';
import { WITHOUT_IPV6 } from '../../fixtures/ipv6.js';
import { requireProgram, run } from '../../fixtures/programs.js';
import { shortFolder } from '../../fixtures/short-folder.js';

const silent = createLogger('silent');
const notExpected = (ip: string): never => {
  throw new Error(`${ip} is missing`);
};

function rule(hostIps: string[], hostPort = 0): ForwardRule {
  return { proto: 'tcp', hostIps, hostPort, destination: { proto: 'tcp', ip: '127.0.0.1', port: 80 } };
}

function portOf(listener: Listener): number {
  return listener.rule.proto === 'tcp' ? listener.rule.hostPort : 0;
}

/** The next client that the listener hands over. */
function nextClient(listener: Listener): Promise<RawSocket> {
  return new Promise((resolve) => listener.start(resolve));
}

async function connect(address: { port: number; host: string } | { path: string }): Promise<net.Socket> {
  const socket = net.connect(address);
  await once(socket, 'connect');
  return socket;
}

t.test('localhost with a free port: one that is free in both families', { skip: WITHOUT_IPV6 }, async (t) => {
  const listener = await Listener.open(rule(['127.0.0.1', '::1']), silent, notExpected);
  const port = portOf(listener);
  t.same(listener.addresses, [`127.0.0.1:${port}`, `[::1]:${port}`]);
  for (const host of ['127.0.0.1', '::1']) {
    const accepted = nextClient(listener);
    const client = await connect({ host, port });
    const socket = await accepted;
    t.equal(socket.remote?.port, client.localPort);
    socket.reset();
    client.destroy();
  }
  await listener.close();
});

t.test('clients that come before the start wait for it', async (t) => {
  const listener = await Listener.open(rule(['127.0.0.1']), silent, notExpected);
  const client = await connect({ host: '127.0.0.1', port: portOf(listener) });
  // The probe is accepted after the first client: when it is there, the first one has been queued.
  const probe = await connect({ host: '127.0.0.1', port: portOf(listener) });
  const sockets: RawSocket[] = [];
  await new Promise<void>((resolve) => {
    listener.start((socket) => {
      sockets.push(socket);
      if (sockets.length === 2) resolve();
    });
  });
  t.same(sockets.map((socket) => socket.remote?.port).sort(), [client.localPort, probe.localPort].sort());
  for (const socket of sockets) socket.reset();
  client.destroy();
  probe.destroy();
  await listener.close();
});

t.test('clients that come before the start are reset when there is none', async (t) => {
  const listener = await Listener.open(rule(['127.0.0.1']), silent, notExpected);
  const client = net.connect({ host: '127.0.0.1', port: portOf(listener) });
  const gone = new Promise((resolve) => client.on('close', resolve));
  client.on('error', (error: NodeJS.ErrnoException) => t.equal(error.code, 'ECONNRESET'));
  await once(client, 'connect');
  await listener.close();
  await gone;
});

t.test('a wildcard address is of its own family only', { skip: WITHOUT_IPV6 }, async (t) => {
  const port = await freePort();
  const six = await Listener.open(rule(['::'], port), silent, notExpected);
  const four = await Listener.open(rule(['0.0.0.0'], port), silent, notExpected);
  t.same([...four.addresses, ...six.addresses], [`0.0.0.0:${port}`, `[::]:${port}`]);
  for (const [listener, host] of [
    [four, '127.0.0.1'],
    [six, '::1'],
  ] as const) {
    const accepted = nextClient(listener);
    const client = await connect({ host, port });
    (await accepted).reset();
    client.destroy();
  }
  await Promise.all([four.close(), six.close()]);
  for (const host of ['127.0.0.1', '::1']) await t.rejects(connect({ host, port }), { code: 'ECONNREFUSED' });
  const each = await Listener.open(rule(['0.0.0.0', '::']), silent, notExpected);
  t.same(each.addresses, [`0.0.0.0:${portOf(each)}`, `[::]:${portOf(each)}`]);
  await each.close();
});

t.test('an address that is taken, or that the machine does not have', { skip: WITHOUT_IPV6 }, async (t) => {
  const port = await freePort();
  const listener = await Listener.open(rule(['::1'], port), silent, notExpected);
  await t.rejects(Listener.open(rule(['127.0.0.1', '::1'], port), silent, notExpected), {
    name: 'BindError',
    ip: '::1',
    port,
    cause: { code: 'EADDRINUSE' },
  });
  // What was bound before the failure is free again.
  await (await Listener.open(rule(['127.0.0.1'], port), silent, notExpected)).close();
  await listener.close();
  await t.rejects(Listener.open(rule(['192.0.2.1']), silent, notExpected), BindError);
  const missing: string[] = [];
  const open = await Listener.open(rule(['127.0.0.1', '2001:db8::1']), silent, (ip) => void missing.push(ip));
  t.same(missing, ['2001:db8::1']);
  t.same(open.addresses, [`127.0.0.1:${portOf(open)}`]);
  await open.close();
});

t.test('a free port is chosen again when another address has it taken', { skip: WITHOUT_IPV6 }, async (t) => {
  const listen = net.Server.prototype.listen;
  t.teardown(() => {
    net.Server.prototype.listen = listen;
  });
  let refusals = 3;
  net.Server.prototype.listen = function (this: net.Server, handle: TcpHandle, ...rest: unknown[]) {
    const bound = { address: '', port: 0 };
    handle.getsockname?.(bound);
    if (bound.address === '::1' && refusals-- > 0) {
      handle.close(() => {});
      process.nextTick(() => this.emit('error', Object.assign(new Error('taken'), { code: 'EADDRINUSE' })));
      return this;
    }
    return (listen as (...args: unknown[]) => net.Server).call(this, handle, ...rest);
  } as typeof listen;
  const listener = await Listener.open(rule(['127.0.0.1', '::1']), silent, notExpected);
  t.equal(listener.addresses.length, 2);
  await listener.close();
  refusals = Number.POSITIVE_INFINITY;
  await t.rejects(Listener.open(rule(['127.0.0.1', '::1']), silent, notExpected), BindError);
});

t.test('a unix path, in a folder that is made', async (t) => {
  const path = `${shortFolder(t)}/new/f.sock`;
  const unix: ForwardRule = { proto: 'unix', hostPath: path, destination: { proto: 'unix', path: '/x' } };
  const listener = await Listener.open(unix, silent, notExpected);
  t.same(listener.addresses, [path]);
  t.equal(listener.rule, unix);
  await t.rejects(Listener.open(unix, silent, notExpected), { name: 'OperationError', message: /in use/ });
  const accepted = nextClient(listener);
  const client = await connect({ path });
  (await accepted).reset();
  client.destroy();
  await listener.close();
});

t.test('a unix path in no folder that there could be', async (t) => {
  const folder = shortFolder(t);
  const open = (hostPath: string): Promise<Listener> =>
    Listener.open(
      { proto: 'unix', hostPath, destination: { proto: 'unix', path: '/x' } },
      silent,
      notExpected,
    ) as Promise<Listener>;
  const listener = await open(`${folder}/a/b/f.sock`);
  await listener.close();
  await t.rejects(open(`${folder}/c/d/e/f.sock`), {
    name: 'OperationError',
    message: /the folder .*\/c does not exist; create it first/,
  });
  await t.rejects(open('/dev/null/x/f.sock'), { name: 'OperationError', message: /ENOTDIR/ });
});

t.test('failing accepts are logged, not more than one a second', async (t) => {
  const servers: net.Server[] = [];
  const create = net.createServer;
  t.teardown(() => {
    net.createServer = create;
  });
  net.createServer = ((options: net.ServerOpts) => {
    const server = create(options);
    servers.push(server);
    return server;
  }) as typeof create;
  const lines: string[] = [];
  const logger = createLogger('info', { write: (line) => void lines.push(line) });
  const listener = await Listener.open(rule(['127.0.0.1']), logger, notExpected);
  for (const server of servers) {
    server.emit('error', Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' }));
    server.emit('error', Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' }));
  }
  t.equal(lines.length, 1);
  t.match(JSON.parse(lines[0] ?? ''), { err: { code: 'EMFILE' }, msg: /listening goes on/ });
  await listener.close();
});

t.test('what the kernel receives ahead is bounded for clients of this machine only', async (t) => {
  const ss = requireProgram(t, 'ss');
  if (ss === undefined) return;
  const bytes = async (ip: string): Promise<number> => {
    const listener = await Listener.open(rule([ip]), silent, notExpected);
    const accepted = nextClient(listener);
    const client = await connect({ host: '127.0.0.1', port: portOf(listener) });
    const socket = await accepted;
    const { output } = await run(t, ss, '-Htnm', `sport = :${portOf(listener)}`);
    socket.reset();
    client.destroy();
    await listener.close();
    return Number(/\brb(\d+)/.exec(output)?.[1]);
  };
  // Linux doubles the size for its own book-keeping.
  t.equal(await bytes('127.0.0.1'), 2 * LOCAL_RECEIVE_BUFFER_BYTES);
  const untouched = await bytes('0.0.0.0');
  t.ok(untouched > 0 && untouched !== 2 * LOCAL_RECEIVE_BUFFER_BYTES, `${untouched} bytes`);
});
