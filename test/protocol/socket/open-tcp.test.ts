import { once } from 'node:events';
import net from 'node:net';
import t from 'tap';
import { HandleSocket } from '../../../protocol/socket/handle-socket.js';
import { type Handles, handles, type TcpHandle } from '../../../protocol/socket/handles.js';
import { loadSocketCalls, openTcp } from '../../../protocol/socket/open-tcp.js';
import { WITHOUT_IPV6 } from '../../fixtures/ipv6.js';
import { Recorder } from '../transport/fixtures/recorder.js';
import { readOptions } from './fixtures/read-options.js';

const LINUX_ONLY = { skip: process.platform === 'linux' ? false : "the numbers are Linux's" };

for (const host of WITHOUT_IPV6 ? ['127.0.0.1'] : ['127.0.0.1', '::1'])
  t.test(
    `a socket to ${host} is reset by its process's death from before it connects`,
    LINUX_ONLY,
    async (t) => {
      const server = net.createServer((socket) => socket.destroy()).listen(0, host);
      t.teardown(() => server.close());
      await once(server, 'listening');
      const { port } = server.address() as net.AddressInfo;
      const seen: number[][] = [];
      const recorder = new Recorder();
      HandleSocket.connect(
        { ...(handles as Handles), makeTcp: () => watched((handles as Handles).makeTcp(), seen) },
        { host, port },
        recorder,
        () => {},
      );
      await recorder.until(() => recorder.ended || recorder.closed);
      t.strictSame(seen, [[1, 0]]);
    },
  );

/** Notes what becomes of the connection when its process dies, as the kernel has it right before it connects. */
function watched(handle: TcpHandle, seen: number[][]): TcpHandle {
  for (const name of ['connect', 'connect6'] as const) {
    const connect = handle[name].bind(handle);
    handle[name] = (...args) => {
      seen.push(readOptions(handle.fd).linger);
      return connect(...args);
    };
  }
  return handle;
}

t.test('where a handle can have no socket of ours, libuv makes it one', async (t) => {
  const closed: number[] = [];
  const calls = { socket: () => 7, close: (fd: number) => closed.push(fd) };
  const handle = (status: number) => ({ open: () => status }) as unknown as TcpHandle;
  t.equal(openTcp(handle(0), false, null), false);
  t.equal(openTcp(handle(0), false, { ...calls, socket: () => -1 }), false);
  t.equal(openTcp(handle(0), false, calls), true);
  t.same(closed, []);
  t.equal(openTcp(handle(-22), true, calls), false);
  t.same(closed, [7], 'what the handle has not taken is closed');
  t.equal(loadSocketCalls('darwin'), null);
  t.equal(
    loadSocketCalls('linux', () => {
      throw new Error('no build of koffi');
    }),
    null,
  );
});
