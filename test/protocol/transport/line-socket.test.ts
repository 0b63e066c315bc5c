import t from 'tap';
import type { RawSocket, SocketHandler } from '../../../protocol/socket/raw-socket.js';
import { LineSocket } from '../../../protocol/transport/line-socket.js';
import { encodeLineMessage, type LineMessage, NO_NONCE } from '../../../protocol/wire/line.js';
import { Recorder } from './fixtures/recorder.js';

const A = 'a'.repeat(16);
const B = 'b'.repeat(16);
const HEARD: LineMessage = { kind: 'hello', own: B, heard: A };

/** A line that does what it is told. */
class FakeLine {
  handler!: SocketHandler;
  readonly sent: string[] = [];
  unsent = 0;
  destroyed = false;
  readonly fd = 7;
  reading = false;

  setHandler(handler: SocketHandler): void {
    this.handler = handler;
  }

  send(bytes: Uint8Array): boolean {
    this.sent.push(Buffer.from(bytes).toString('latin1'));
    return this.unsent === 0;
  }

  pause(): void {
    this.reading = false;
  }

  resume(): void {
    this.reading = true;
  }

  destroy(error?: NodeJS.ErrnoException): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.handler.onClose(error);
  }

  receive(...pieces: (string | LineMessage)[]): boolean {
    const bytes = Buffer.concat(
      pieces.map((piece) =>
        typeof piece === 'string' ? Buffer.from(piece, 'latin1') : encodeLineMessage(piece),
      ),
    );
    const memory = this.handler.nextMemory();
    return this.handler.onRead(memory, bytes.copy(memory));
  }
}

function agreed(t: { teardown(run: () => void): void }) {
  const line = new FakeLine();
  const failures: (Error | undefined)[] = [];
  const socket = new LineSocket(
    line as unknown as RawSocket,
    { onAgreed: () => {}, onFailed: (error) => failures.push(error) },
    A,
  );
  t.teardown(() => socket.destroy());
  return { line, socket, failures };
}

t.test('what comes right behind the agreement waits for the handler', async (t) => {
  const { line, socket } = agreed(t);
  t.equal(line.receive('old', HEARD, 'new'), false);
  t.equal(socket.fd, 7);
  const recorder = new Recorder();
  socket.setHandler(recorder);
  t.equal(recorder.text, '');
  socket.resume();
  t.equal(recorder.text, 'new');
  t.equal(line.reading, true);
  socket.pause();
  t.equal(line.reading, false);
  line.handler.onSent();
  t.equal(recorder.sent, 1);
});

t.test('a handler gets no more than it wants, and what was given back first', async (t) => {
  const { line, socket } = agreed(t);
  line.receive(HEARD);
  const recorder = new Recorder(2);
  socket.setHandler(recorder);
  socket.unread(Buffer.from('12345'));
  recorder.wants = () => false;
  for (const text of ['12', '1234', '12345']) {
    socket.resume();
    t.equal(recorder.text, text);
  }
  const large = new Recorder();
  socket.setHandler(large);
  socket.resume();
  large.wants = () => false;
  t.equal(line.receive('ab', { kind: 'hello', own: B, heard: NO_NONCE }, 'cd'), false);
  t.equal(large.text, 'ab');
  large.wants = () => true;
  socket.resume();
  t.equal(large.text, 'abcd');
});

t.test('a line that takes nothing is not filled with hellos', async (t) => {
  const { line } = agreed(t);
  t.equal(line.sent.length, 1);
  line.unsent = 1;
  line.receive({ kind: 'hello', own: B, heard: NO_NONCE });
  t.equal(line.sent.length, 1);
  line.receive(HEARD);
  t.equal(line.sent.length, 2, 'but for the one that the other end needs');
});

t.test('a close is told to whoever comes later', async (t) => {
  const { line, socket, failures } = agreed(t);
  line.receive(HEARD);
  line.destroy(new Error('gone'));
  t.same(failures, []);
  const recorder = new Recorder();
  socket.setHandler(recorder);
  await recorder.until(() => recorder.closed);
  t.match(recorder.closes, [{ message: 'gone' }]);
  socket.resume();
  t.equal(line.reading, false);
});

t.test('behind bytes that wait no bye is sent', async (t) => {
  const { line, socket } = agreed(t);
  line.receive(HEARD);
  line.unsent = 9;
  const count = line.sent.length;
  socket.destroy();
  t.equal(line.sent.length - count <= 1, true);
  t.equal(line.destroyed, true);
});

t.test('whoever is at the other end goes: that is the end, and the line is closed at once', async (t) => {
  const { line, socket } = agreed(t);
  line.receive(HEARD);
  const recorder = new Recorder();
  socket.setHandler(recorder);
  line.handler.onEnd();
  t.equal(recorder.ended, true);
  t.equal(line.destroyed, true);
  t.same(recorder.closes, [undefined]);
});
