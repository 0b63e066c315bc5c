import t from 'tap';
import { HandleSocket } from '../../../protocol/socket/handle-socket.js';
import {
  findHandles,
  type Handles,
  type StreamHandle,
  type WriteRequest,
} from '../../../protocol/socket/handles.js';
import { Recorder } from '../transport/fixtures/recorder.js';

const EPIPE = -32;
const ECONNRESET = -104;
const EINVAL = -22;

/** A handle whose outcomes the test chooses: what a kernel cannot be made to do at a given moment. */
class FakeHandle {
  readStatus = 0;
  writeStatus = 0;
  async = false;
  shutdownStatus = 0;
  connectStatus = 0;
  writes: WriteRequest[] = [];
  connected: { oncomplete(status: number): void } | undefined;
  onread = (): Buffer | undefined => undefined;
  /** It takes no descriptor: the kernel's own are none of the test's business. */
  open = (): number => EINVAL;
  noDelay: boolean | undefined;
  setNoDelay(on: boolean): void {
    this.noDelay = on;
  }
  readStart = (): number => this.readStatus;
  readStop = (): number => 0;
  useUserBuffer(): void {}
  writeBuffer(request: WriteRequest): number {
    state[WAS_ASYNC] = this.async ? 1 : 0;
    this.writes.push(request);
    return this.writeStatus;
  }
  shutdown = (): number => this.shutdownStatus;
  close(done: () => void): void {
    setImmediate(done);
  }
  connect(request: { oncomplete(status: number): void }): number {
    this.connected = request;
    return this.connectStatus;
  }
  /** What libuv calls after a read. */
  read(outcome: number): void {
    state[OUTCOME] = outcome;
    this.onread.call(this);
  }
}

const OUTCOME = 0;
const WAS_ASYNC = 1;
const END = -4095;
const state = new Int32Array(2);

class Request {
  oncomplete(): void {}
}

function fakeHandles(handle: FakeHandle): Handles {
  return {
    streamState: state,
    readOutcome: OUTCOME,
    writeWasAsync: WAS_ASYNC,
    endOfFile: END,
    makeTcp: () => handle as never,
    makePipe: () => handle as never,
    makePipeListener: () => handle as never,
    WriteRequest: Request,
    ShutdownRequest: Request,
    TcpConnectRequest: Request,
    PipeConnectRequest: Request,
  };
}

function connected(tcp = false) {
  const handle = new FakeHandle();
  const recorder = new Recorder();
  const socket = new HandleSocket(fakeHandles(handle), handle as unknown as StreamHandle, tcp, recorder);
  return { handle, recorder, socket };
}

t.test('a read that cannot be started ends the socket', async (t) => {
  const { handle, recorder, socket } = connected();
  handle.readStatus = EINVAL;
  socket.resume();
  await recorder.until(() => recorder.closed);
  t.match(recorder.closes, [{ code: 'EINVAL', syscall: 'read', message: 'read EINVAL' }]);
});

t.test('a write that fails at once ends the socket, after the caller is done', async (t) => {
  const { handle, recorder, socket } = connected();
  handle.writeStatus = EPIPE;
  t.equal(socket.send(Buffer.from('x')), true, 'the memory is not needed');
  t.equal(socket.destroyed, false);
  await recorder.until(() => recorder.closed);
  t.match(recorder.closes, [{ code: 'EPIPE', syscall: 'write' }]);
  t.equal(socket.send(Buffer.from('y')), true);
  t.equal(handle.writes.length, 1, 'nothing is written to what is gone');
});

t.test('a write that fails later ends the socket', async (t) => {
  const { handle, recorder, socket } = connected();
  handle.async = true;
  t.equal(socket.send(Buffer.from('x')), false);
  t.equal(socket.unsent, 1);
  handle.writes[0]?.oncomplete(ECONNRESET);
  await recorder.until(() => recorder.closed);
  t.match(recorder.closes, [{ code: 'ECONNRESET' }]);
  handle.writes[0]?.oncomplete(0);
  t.equal(recorder.sent, 0, "a write that completes after the end is nobody's");
});

t.test('an end that the OS has sent at once, or cannot send any more, counts as sent', async (t) => {
  const { handle, recorder, socket } = connected();
  handle.shutdownStatus = 1;
  socket.end();
  socket.resume();
  await new Promise(setImmediate);
  handle.read(END);
  t.equal(recorder.ended, false, 'libuv may say so although a reset is there: it is asked again');
  handle.read(END);
  await recorder.until(() => recorder.closed);
  t.equal(recorder.ended, true);
  t.same(recorder.closes, [undefined]);
  socket.end();
});

t.test('closeWhenSent after the end was sent closes at once', async (t) => {
  const { handle, recorder, socket } = connected();
  handle.shutdownStatus = 1;
  socket.end();
  await new Promise(setImmediate);
  t.equal(socket.destroyed, false);
  socket.closeWhenSent();
  t.equal(socket.destroyed, true);
  await recorder.until(() => recorder.closed);
});

t.test('what libuv reports after the end is ignored', async (t) => {
  const { handle, recorder, socket } = connected();
  socket.resume();
  socket.destroy();
  socket.destroy();
  handle.read(5);
  await recorder.until(() => recorder.closed);
  t.equal(recorder.reads.length, 0);
});

t.test('a connect that fails at once is told like one that fails later', async (t) => {
  for (const address of [{ path: '/nowhere' }, { host: '127.0.0.1', port: 1 }]) {
    const handle = new FakeHandle();
    handle.connectStatus = EINVAL;
    const recorder = new Recorder();
    HandleSocket.connect(fakeHandles(handle), address, recorder, () => t.fail('connected'));
    await recorder.until(() => recorder.closed);
    t.match(recorder.closes, [{ code: 'EINVAL', syscall: 'connect' }]);
    handle.connected?.oncomplete(0);
  }
});

t.test('a socket that is made only when it connects is prepared then', async (t) => {
  const handle = new FakeHandle();
  const recorder = new Recorder();
  const address = { host: '127.0.0.1', port: 1 };
  const socket = HandleSocket.connect(fakeHandles(handle), address, recorder, () => {});
  t.equal(handle.noDelay, true);
  socket.destroy();
  await recorder.until(() => recorder.closed);
});

t.test('a handle without the calls of TCP has no addresses and no reset', async (t) => {
  const { recorder, socket } = connected(true);
  t.equal(socket.remote, undefined);
  t.equal(socket.local, undefined);
  socket.reset();
  await recorder.until(() => recorder.closed);
  t.same(recorder.closes, [undefined]);
});

t.test('the owner may end the socket as soon as it is connected', async (t) => {
  const handle = new FakeHandle();
  const recorder = new Recorder();
  const socket = HandleSocket.connect(fakeHandles(handle), { path: '/x' }, recorder, () => socket.destroy());
  socket.end();
  handle.connected?.oncomplete(0);
  await recorder.until(() => recorder.closed);
  t.same(recorder.closes, [undefined]);
});

t.test('what is sent to a connection that has failed already waits until that is told', async (t) => {
  const handle = new FakeHandle();
  handle.writeStatus = EPIPE;
  const recorder = new Recorder();
  const socket = HandleSocket.connect(fakeHandles(handle), { path: '/x' }, recorder, () => {});
  t.equal(socket.send(Buffer.from('early')), false);
  t.equal(socket.unsent, 5);
  handle.connected?.oncomplete(ECONNRESET);
  await recorder.until(() => recorder.closed);
  t.match(recorder.closes, [{ code: 'ECONNRESET', syscall: 'connect' }]);
});

t.test('an end that was asked for while connecting is sent when connected', async (t) => {
  const handle = new FakeHandle();
  handle.shutdownStatus = 1;
  const recorder = new Recorder();
  const socket = HandleSocket.connect(fakeHandles(handle), { path: '/x' }, recorder, () => {});
  socket.closeWhenSent();
  t.equal(socket.destroyed, false);
  handle.connected?.oncomplete(0);
  await recorder.until(() => recorder.closed);
  t.same(recorder.closes, [undefined]);
});

t.test('without the internal interface there are no handles', async (t) => {
  const real = (process as unknown as { binding(name: string): Record<string, unknown> }).binding;
  t.not(findHandles(), null);
  t.equal(
    findHandles(() => {
      throw new Error('not permitted');
    }),
    null,
  );
  t.equal(
    findHandles((name) => (name === 'stream_wrap' ? { ...real(name), WriteWrap: undefined } : real(name))),
    null,
    'a part is missing',
  );
  class OldTcp {}
  t.equal(
    findHandles((name) => (name === 'tcp_wrap' ? { ...real(name), TCP: OldTcp } : real(name))),
    null,
  );
});
