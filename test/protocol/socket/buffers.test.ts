import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { descriptorOf } from '../../../protocol/socket/accept.js';
import {
  boundLocalReceiveBuffer,
  CHANNEL_BUFFER_BYTES,
  enlargeChannelBuffers,
  LOCAL_RECEIVE_BUFFER_BYTES,
} from '../../../protocol/socket/buffers.js';
import { libc, loadLibc } from '../../../protocol/socket/libc.js';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import { connectChannel } from '../../../protocol/transport/connect-channel.js';
import { listenForChannel } from '../../../protocol/transport/listen-for-channel.js';

t.test('both ends of a channel get larger buffers from the OS', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'pf-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 's.sock');
  const accepted: RawSocket[] = [];
  const listener = await listenForChannel({ kind: 'unix', path }, (socket) => accepted.push(socket), t.threw);
  t.teardown(() => listener.close());
  const socket = await connectChannel({ kind: 'unix', path });
  t.teardown(() => socket.reset());
  while (accepted.length === 0) await new Promise((resolve) => setImmediate(resolve));
  accepted[0]?.reset();

  t.equal(enlargeChannelBuffers(socket.fd), true);
});

t.test('where it cannot be done nothing happens', async (t) => {
  t.equal(enlargeChannelBuffers(-1), false, 'no descriptor');
  t.equal(enlargeChannelBuffers(0, 'win32'), false, 'an OS whose numbers are not known');
  t.equal(enlargeChannelBuffers(0, 'linux', null), false, 'no C library');
  t.equal(enlargeChannelBuffers(1 << 20), false, 'a descriptor that is not open');
  t.equal(boundLocalReceiveBuffer(descriptorOf(net.createServer())), false, 'a server that does not listen');
  t.equal(
    loadLibc(() => {
      throw new Error('no build for this machine');
    }),
    null,
  );
});

t.test("macOS's own numbers are used there", async (t) => {
  const calls: number[][] = [];
  const setsockopt = (fd: number, level: number, name: number, value: Int32Array, bytes: number): number => {
    calls.push([fd, level, name, ...value, bytes]);
    return 0;
  };
  t.equal(enlargeChannelBuffers(5, 'darwin', { setsockopt }), true);
  t.equal(boundLocalReceiveBuffer(6, 'darwin', { setsockopt }), true);
  t.strictSame(calls, [
    [5, 0xffff, 0x1001, CHANNEL_BUFFER_BYTES, 4],
    [5, 0xffff, 0x1002, CHANNEL_BUFFER_BYTES, 4],
    [6, 0xffff, 0x1002, LOCAL_RECEIVE_BUFFER_BYTES, 4],
  ]);
  t.ok(libc, 'koffi has a build for this machine');
});
