import { once } from 'node:events';
import net from 'node:net';
import t, { type Test } from 'tap';
import { handles } from '../../../protocol/socket/handles.js';
import { listenOnTcp, pauseAccepting, resumeAccepting } from '../../../protocol/socket/listen-tcp.js';
import { WITHOUT_IPV6 } from '../../fixtures/ipv6.js';
import { Signal } from '../fixtures/signal.js';

const BACKLOG = 16;

async function start(t: Test, host: string, internals?: null) {
  const signal = new Signal();
  const accepted: net.Socket[] = [];
  const server = net.createServer((socket) => {
    accepted.push(socket);
    signal.wake();
  });
  listenOnTcp(server, { host, port: 0, backlog: BACKLOG }, internals);
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  /** Resolves when the OS has the connection. */
  const connect = async (): Promise<net.Socket> => {
    const socket = net.connect({ host, port });
    t.teardown(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  t.teardown(() => {
    server.close();
    for (const socket of accepted) socket.destroy();
  });
  return { server, accepted, signal, connect, port };
}

for (const host of ['127.0.0.1', '::1'])
  t.test(`accepting pauses and goes on: ${host}`, { skip: host === '::1' && WITHOUT_IPV6 }, async (t) => {
    const { server, accepted, signal, connect } = await start(t, host);
    await connect();
    await signal.until(() => accepted.length === 1);
    for (let round = 0; round < 2; round++) {
      const before = accepted.length;
      pauseAccepting(server);
      pauseAccepting(server);
      await Promise.all([connect(), connect(), connect()]);
      // Another server's connection, made later, is accepted: this one's would have been, too.
      const other = await start(t, host);
      await other.connect();
      await other.signal.until(() => other.accepted.length === 1);
      t.equal(accepted.length, before, 'they wait');
      resumeAccepting(server);
      await signal.until(() => accepted.length === before + 3);
      resumeAccepting(server);
    }
    await connect();
    await signal.until(() => accepted.length === 8);
  });

t.test('a wildcard address is of its own family only', { skip: WITHOUT_IPV6 }, async (t) => {
  const six = await start(t, '::');
  const four = net.createServer();
  listenOnTcp(four, { host: '0.0.0.0', port: six.port, backlog: BACKLOG });
  await once(four, 'listening');
  four.close();
});

t.test('an address that is taken, or that there is none of, is an error as node:net has it', async (t) => {
  const { port } = await start(t, '127.0.0.1');
  for (const [host, code] of [
    ['127.0.0.1', 'EADDRINUSE'],
    ['192.0.2.1', 'EADDRNOTAVAIL'],
  ] as const) {
    const server = net.createServer();
    listenOnTcp(server, { host, port, backlog: BACKLOG });
    const [error] = await once(server, 'error');
    t.match(error, { code, syscall: 'listen' });
    t.type(error.errno, 'number');
  }
});

t.test('without the handles it listens, and cannot pause', async (t) => {
  const { server, accepted, signal, connect } = await start(t, '127.0.0.1', null);
  t.ok(handles, 'though this Node has them');
  pauseAccepting(server);
  await connect();
  await signal.until(() => accepted.length === 1);
  resumeAccepting(server);
  pauseAccepting(net.createServer());
  resumeAccepting(net.createServer());
});
