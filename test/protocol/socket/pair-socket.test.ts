import { closeSync, readSync, writeSync } from 'node:fs';
import t, { type Test } from 'tap';
import { openDescriptor } from '../../../protocol/socket/adopt-socket.js';
import { handles } from '../../../protocol/socket/handles.js';
import { PairSocket } from '../../../protocol/socket/pair-socket.js';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import { makePipe, makeSocketPair } from '../../fixtures/descriptors.js';
import { socketPair } from '../fixtures/tunnel.js';
import { temporaryFolder } from '../transport/fixtures/pairs.js';
import { Recorder } from '../transport/fixtures/recorder.js';

interface Rig {
  pair: PairSocket;
  recorder: Recorder;
  /** Where the test writes what the pair reads. */
  to: number;
  /** Where the test reads what the pair writes. */
  from: number;
  close(fd: number): void;
}

function attend(socket: RawSocket): Recorder {
  const recorder = new Recorder();
  socket.setHandler(recorder);
  socket.resume();
  return recorder;
}

for (const internals of [handles, null])
  for (const [kind, make] of [
    ['pipes', makePipe],
    ['sockets', makeSocketPair],
  ] as const) {
    const rig = (t: Test): Rig => {
      const [input, to] = make();
      const [from, output] = make();
      const open = new Set([to, from]);
      const close = (fd: number): void => {
        if (open.delete(fd)) closeSync(fd);
      };
      const pair = new PairSocket(
        openDescriptor(input, 'read', internals),
        openDescriptor(output, 'write', internals),
      );
      t.teardown(() => {
        for (const fd of open) closeSync(fd);
        pair.reset();
      });
      return { pair, recorder: attend(pair), to, from, close };
    };
    t.test(`${kind}, by ${internals ? 'handles' : 'node:net'}`, (t) => {
      comply(t, rig);
      t.end();
    });
  }

function comply(t: Test, make: (t: Test) => Rig): void {
  t.test('bytes go both ways, and each end by itself', async (t) => {
    const { pair, recorder, to, from, close } = make(t);
    t.ok(pair.fd > 2);
    t.equal(pair.remote, undefined);
    writeSync(to, 'in');
    await recorder.until(() => recorder.text === 'in');
    t.ok(pair.send(Buffer.from('out')), 'the kernel has taken it');
    t.equal(pair.unsent, 0);
    t.equal(readText(from), 'out');
    close(to);
    await recorder.until(() => recorder.ended);
    pair.send(Buffer.from('answer'));
    pair.closeWhenSent();
    await recorder.until(() => recorder.closed);
    t.equal(readText(from), 'answer');
    t.equal(readText(from), '', 'the end');
    t.same(recorder.closes, [undefined]);
    t.ok(pair.destroyed);
  });

  t.test('what was read too early comes first, and a handler that comes late misses nothing', async (t) => {
    const { pair, recorder, to } = make(t);
    recorder.wants = () => false;
    writeSync(to, 'b');
    await recorder.until(() => recorder.text === 'b');
    pair.pause();
    pair.unread(Buffer.from('b'));
    writeSync(to, 'c');
    const next = attend(pair);
    await next.until(() => next.text === 'bc');
    next.wants = () => true;
  });

  t.test('a reset ends both directions', async (t) => {
    const { pair, recorder, from } = make(t);
    pair.reset();
    await recorder.until(() => recorder.closed);
    t.equal(readText(from), '');
    t.same(recorder.closes, [undefined]);
  });

  t.test('an error that ends it is told', async (t) => {
    const { pair, recorder } = make(t);
    const error = new Error('enough');
    pair.destroy(error);
    await recorder.until(() => recorder.closed);
    t.same(recorder.closes, [error]);
  });

  t.test('output can end alone', async (t) => {
    const { pair, recorder, to, from } = make(t);
    pair.end();
    t.equal(await readEnd(from), '');
    writeSync(to, 'still');
    await recorder.until(() => recorder.text === 'still');
    t.notOk(recorder.closed);
    pair.closeWhenSent();
    await recorder.until(() => recorder.closed);
    t.same(recorder.closes, [undefined]);
  });

  t.test('a peer that reads no more is heard to its end', async (t) => {
    const { pair, recorder, to, from, close } = make(t);
    pair.pause();
    writeSync(to, 'last words');
    close(from);
    pair.send(Buffer.from('x'));
    close(to);
    // What nobody reads was found out by then.
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    t.notOk(recorder.closed);
    pair.resume();
    await recorder.until(() => recorder.ended);
    t.equal(recorder.text, 'last words');
    pair.closeWhenSent();
    await recorder.until(() => recorder.closed);
    t.match(recorder.closes, [{ code: 'EPIPE' }]);
  });

  t.test('a peer that reads no more and says no more is not waited for', async (t) => {
    const { pair, recorder, from, close } = make(t);
    close(from);
    pair.send(Buffer.from('x'));
    await recorder.until(() => recorder.closed);
    t.match(recorder.closes, [{ code: 'EPIPE' }]);
  });
}

t.test('back-pressure: what the kernel does not take waits, and is told when it goes', async (t) => {
  const [first, second] = await socketPair(temporaryFolder(t), 'unix');
  const [third, fourth] = await socketPair(temporaryFolder(t), 'unix');
  const pair = new PairSocket(first, third);
  t.teardown(() => {
    for (const socket of [pair, second, fourth]) socket.reset();
  });
  const recorder = attend(pair);
  const bytes = Buffer.alloc(8 * 1024 * 1024, 1);
  t.notOk(pair.send(bytes));
  t.ok(pair.unsent > 0);
  pair.closeWhenSent();
  const reader = attend(fourth);
  await reader.until(() => reader.ended);
  t.ok(reader.bytes.equals(bytes));
  await recorder.until(() => recorder.closed);
  t.ok(recorder.sent > 0);
});

t.test('one that has closed while nobody attended to it tells so', async (t) => {
  const [input, to] = makePipe();
  const [from, output] = makePipe();
  const pair = new PairSocket(openDescriptor(input, 'read'), openDescriptor(output, 'write'));
  const error = new Error('early');
  pair.destroy(error);
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  const recorder = attend(pair);
  await recorder.until(() => recorder.closed);
  t.same(recorder.closes, [error]);
  closeSync(to);
  closeSync(from);
});

/** What is there to be read at once, or else the end; the writer has written before. */
function readText(fd: number): string {
  const memory = Buffer.alloc(64);
  return memory.toString('latin1', 0, readSync(fd, memory));
}

/** The event loop may need a turn before the end is there. */
async function readEnd(fd: number): Promise<string> {
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  return readText(fd);
}
