import { once } from 'node:events';
import net from 'node:net';
import t from 'tap';
import { acceptSockets } from '../../../protocol/socket/accept.js';
import { connectSocket } from '../../../protocol/socket/connect-socket.js';
import { handles } from '../../../protocol/socket/handles.js';
import { DEFAULT_KEEP_ALIVE_SECONDS } from '../../../protocol/socket/keep-alive.js';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import { canSetOptions } from '../../../protocol/socket/socket-options.js';
import { startSockets } from '../../../protocol/socket/start.js';
import {
  deliverAtClose,
  inheritsOptions,
  prepareTcp,
  prepareTcpHandle,
} from '../../../protocol/socket/tcp-options.js';
import { startRawServer } from '../transport/fixtures/pairs.js';
import { Recorder } from '../transport/fixtures/recorder.js';
import { readOptions } from './fixtures/read-options.js';

const LINUX_ONLY = { skip: process.platform === 'linux' ? false : "the numbers are Linux's" };

for (const internals of [handles, null]) {
  const kind = internals ? 'handles' : 'node:net';

  for (const seconds of [DEFAULT_KEEP_ALIVE_SECONDS, 7, 0])
    t.test(
      `the kernel has the options of both ends: ${kind}, keep-alive ${seconds} s`,
      LINUX_ONLY,
      async (t) => {
        await startSockets(seconds);
        const { server, address, accepted } = await startRawServer(undefined, internals !== null);
        t.teardown(() => server.close());
        // More than one: the first is accepted in the turn in which options are not inherited yet.
        for (let count = 0; count < 3; count++) {
          const dialled = await connect(address as { host: string; port: number });
          const sockets = [dialled, await accepted()];
          for (const { fd } of sockets) {
            const { keepAliveIdle, keepAliveInterval, ...options } = readOptions(fd);
            t.strictSame(options, { linger: [1, 0], keepAlive: [seconds > 0 ? 1 : 0], noDelay: [1] });
            if (seconds > 0) t.strictSame([keepAliveIdle, keepAliveInterval], [[seconds], [seconds]]);
          }
          for (const socket of sockets) socket.reset();
        }
      },
    );

  async function connect(address: { host: string; port: number }): Promise<RawSocket> {
    return new Promise((resolve) => {
      const socket = connectSocket(address, new Recorder(), () => resolve(socket), internals);
    });
  }
}

t.test('a client that came before the options were set has them, too', LINUX_ONLY, async (t) => {
  await startSockets(DEFAULT_KEEP_ALIVE_SECONDS);
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true });
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // Connected by the kernel at once, and accepted only in a later turn of the loop.
  const { port } = server.address() as net.AddressInfo;
  const early = net.connect(port, '127.0.0.1').on('error', () => {});
  const sockets: RawSocket[] = [];
  await once(early, 'connectionAttempt');
  acceptSockets(server, true, (socket) => sockets.push(socket));
  while (sockets.length === 0) await new Promise(setImmediate);
  const [socket] = sockets as [RawSocket];
  t.match(readOptions(socket.fd), { linger: [1, 0], keepAliveIdle: [DEFAULT_KEEP_ALIVE_SECONDS] });
  socket.reset();
});

t.test(
  'where options are not inherited, or not to be set, each socket gets what it can',
  LINUX_ONLY,
  async (t) => {
    await startSockets(DEFAULT_KEEP_ALIVE_SECONDS);
    const options = await import('../../../protocol/socket/tcp-options.js');
    const ways = {
      'not inherited': { inheritsOptions: () => false },
      'no C library': {
        prepareTcp: () => false,
        prepareTcpHandle: (handle: Parameters<typeof prepareTcpHandle>[0], seconds: number) =>
          prepareTcpHandle(withoutDescriptor(handle), seconds),
      },
    };
    for (const internals of [handles, null])
      for (const [name, changed] of Object.entries(ways)) {
        const mocks = { '../../../protocol/socket/tcp-options.ts': { ...options, ...changed } };
        const accepting = await t.mockImport<typeof import('../../../protocol/socket/accept.js')>(
          '../../../protocol/socket/accept.js',
          {
            ...mocks,
            '../../../protocol/socket/node-socket.ts': await t.mockImport(
              '../../../protocol/socket/node-socket.js',
              mocks,
            ),
          },
        );
        const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true });
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        const accepted = new Promise<RawSocket>((resolve) =>
          accepting.acceptSockets(server, true, resolve, internals),
        );
        const { port } = server.address() as net.AddressInfo;
        const client = net.connect(port, '127.0.0.1').on('error', () => {});
        const socket = await accepted;
        const expected = { noDelay: [1], keepAlive: [1], keepAliveIdle: [DEFAULT_KEEP_ALIVE_SECONDS] };
        t.match(readOptions(socket.fd), expected, `${name}, ${internals ? 'handles' : 'node:net'}`);
        socket.reset();
        client.destroy();
        server.close();
      }
  },
);

/** A handle whose options only libuv can set. */
function withoutDescriptor(handle: Parameters<typeof prepareTcpHandle>[0]): typeof handle {
  return {
    fd: -1,
    setNoDelay: (on) => handle.setNoDelay?.(on) ?? -1,
    setKeepAlive: (on, seconds) => handle.setKeepAlive?.(on, seconds) ?? -1,
  };
}

t.test("macOS's own numbers are used there", async (t) => {
  const calls: number[][] = [];
  const setsockopt = (fd: number, level: number, name: number, value: Int32Array, bytes: number): number => {
    calls.push([fd, level, name, ...value, bytes]);
    return 0;
  };
  t.equal(prepareTcp(5, 20, 'darwin', { setsockopt }), true);
  t.equal(deliverAtClose(5, 'darwin', { setsockopt }), true);
  t.strictSame(calls, [
    [5, 0xffff, 0x80, 1, 0, 8],
    [5, 6, 1, 1, 4],
    [5, 6, 0x10, 20, 4],
    [5, 6, 0x101, 20, 4],
    [5, 0xffff, 8, 1, 4],
    [5, 0xffff, 0x80, 0, 0, 8],
  ]);
  t.equal(inheritsOptions('darwin'), false, 'it does not hand the idle time on');
});

t.test('where options cannot be set nothing happens, and libuv does what it can', async (t) => {
  t.equal(prepareTcp(5, 15, 'linux', null), false, 'no C library');
  t.equal(prepareTcp(5, 15, 'win32'), false, 'an OS whose numbers are not known');
  t.equal(prepareTcp(1 << 20, 15), false, 'no such descriptor');
  t.equal(canSetOptions('linux', null), false);
  const asked: unknown[] = [];
  const handle = {
    fd: -1,
    setNoDelay: (on: boolean) => asked.push(['noDelay', on]),
    setKeepAlive: (on: boolean, seconds: number) => asked.push(['keepAlive', on, seconds]),
  };
  prepareTcpHandle(handle, 15);
  prepareTcpHandle(handle, 0);
  t.strictSame(asked, [
    ['noDelay', true],
    ['keepAlive', true, 15],
    ['noDelay', true],
  ]);
});
