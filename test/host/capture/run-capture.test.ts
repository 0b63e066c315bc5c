import { existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import t from 'tap';
import { BlockReader } from '../../../host/capture/block-reader.js';
import {
  type CaptureSink,
  createCaptureFile,
  openFifo,
  streamSink,
} from '../../../host/capture/capture-file.js';
import { runCapture } from '../../../host/capture/run-capture.js';
import { OperationError } from '../../../protocol/errors.js';
import { run, temporaryFolder } from '../../fixtures/programs.js';
import { Bench } from './fixtures/captured.js';
import { readPcapng } from './fixtures/read-pcapng.js';

const NEVER = new AbortController().signal;

/** A capture of two packets, as it comes. */
async function someCapture(): Promise<Buffer> {
  const bench = new Bench();
  const capture = bench.start();
  bench.connect().end({ outcome: 'failed', by: 'host', how: 'error', message: 'x' });
  capture.finish('done');
  const chunks: Buffer[] = [];
  for await (const chunk of capture.stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Keeps what it is given. */
function memorySink(): CaptureSink & { bytes(): Buffer; closed: boolean } {
  const blocks: Buffer[] = [];
  return {
    closed: false,
    write: async (some) => blocks.push(some) > 0,
    async close() {
      this.closed = true;
    },
    bytes: () => Buffer.concat(blocks),
  };
}

t.test('whole blocks are passed on, wherever what comes is cut', async (t) => {
  const whole = await someCapture();
  for (const step of [1, 7, whole.length]) {
    const reader = new BlockReader();
    const out: Buffer[] = [];
    for (let at = 0; at < whole.length; at += step) out.push(reader.push(whole.subarray(at, at + step)));
    t.same(Buffer.concat(out), whole);
    t.match(reader, { packets: 2, bytes: whole.length, dropped: 0, ending: 'done' });
  }
  t.throws(() => new BlockReader().push(Buffer.from('HTTP/1.1 200 OK')), OperationError);
  t.throws(() => new BlockReader().push(Buffer.alloc(12, 12)), OperationError);
  const other = Buffer.alloc(12);
  other.writeUInt32LE(12, 4);
  t.throws(() => new BlockReader().push(other), OperationError);
});

t.test('a capture that is cut off is whole as far as it goes', async (t) => {
  const whole = await someCapture();
  const sink = memorySink();
  const stream = new PassThrough();
  stream.write(whole.subarray(0, whole.length - 5));
  const source = { stream, stop: async () => {} };
  const progress: number[] = [];
  const running = runCapture({
    source,
    sink,
    stop: NEVER,
    onProgress: (packets) => {
      progress.push(packets);
      stream.destroy(new Error('aborted'));
    },
  });
  t.match(await running, { packets: 2, dropped: null, ending: 'the host has gone (aborted)' });
  t.same(progress, [2]);
  t.equal(readPcapng(sink.bytes()).packets.length, 2);
  t.ok(sink.closed);
  const short = { stream: Readable.from([whole.subarray(0, 40)]), stop: async () => {} };
  t.match(await runCapture({ source: short, sink: memorySink(), stop: NEVER }), {
    ending: 'the host has ended it',
  });
});

t.test('it is stopped by a signal, by a reader that goes, and by a sink that fails', async (t) => {
  const whole = await someCapture();
  const stop = new AbortController();
  stop.abort();
  const stream = new PassThrough();
  const source = { stream, stop: async () => void stream.end(whole) };
  t.match(await runCapture({ source, sink: memorySink(), stop: stop.signal }), { ending: 'done' });
  const deaf = new PassThrough();
  const cannotTell = {
    stream: deaf,
    stop: async () => {
      throw new Error('no answer');
    },
  };
  t.match(
    (await runCapture({ source: cannotTell, sink: memorySink(), stop: stop.signal })).ending,
    /^the host has gone/,
  );
  const gone = { write: async () => false, close: async () => {} };
  const ofBytes = (): { stream: Readable; stop(): Promise<void> } => ({
    stream: Readable.from([whole]),
    stop: async () => {},
  });
  t.match(await runCapture({ source: ofBytes(), sink: gone, stop: NEVER }), { ending: 'done' });
  const half = {
    stream: Readable.from([whole.subarray(0, 40), whole.subarray(40, 200)]),
    stop: async () => {},
  };
  t.match(await runCapture({ source: half, sink: gone, stop: NEVER }), {
    ending: 'nobody reads it any more',
  });
  const full = {
    write: async () => {
      throw new OperationError('the disk is full');
    },
    close: async () => {},
  };
  await t.rejects(runCapture({ source: ofBytes(), sink: full, stop: NEVER }), OperationError);
});

t.test('a file is made new, for its user alone, and replaces no other thing than a file', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'a.pcapng');
  writeFileSync(path, 'an old one', { mode: 0o644 });
  const file = await createCaptureFile(path);
  t.ok(await file.write(Buffer.from('abcd')));
  await file.close();
  t.equal(readFileSync(path, 'utf8'), 'abcd');
  t.equal(statSync(path).mode & 0o777, 0o600);
  const link = join(folder, 'link');
  symlinkSync(path, link);
  for (const other of [folder, link, '/dev/null'])
    await t.rejects(createCaptureFile(other), { constructor: OperationError, message: /no regular file/ });
  await t.rejects(
    createCaptureFile(join(folder, 'no', 'x')),
    /cannot be made: no such file or directory \(ENOENT\)/,
  );
});

t.test(
  'a disk that is full is one sentence',
  { skip: !existsSync('/dev/full') && 'there is no /dev/full' },
  async (t) => {
    const full = await openFifo('/dev/full');
    await t.rejects(full.write(Buffer.from('abcd')), {
      constructor: OperationError,
      message: 'the capture has ended, for /dev/full cannot be written to: no space left on device (ENOSPC)',
    });
    await full.close();
  },
);

t.test('a pipe and a stream whose readers go', async (t) => {
  const path = join(temporaryFolder(t), 'fifo');
  await run(t, 'mkfifo', path);
  await t.rejects(openFifo(`${path}x`), {
    constructor: OperationError,
    message: /no such file or directory/,
  });
  const reader = run(t, 'head', '-c', '4', path);
  const fifo = await openFifo(path);
  t.ok(await fifo.write(Buffer.from('abcd')));
  await reader;
  t.notOk(await fifo.write(Buffer.from('abcd')));
  await fifo.close();
  const taken = streamSink(new PassThrough());
  t.ok(await taken.write(Buffer.from('x')));
  await taken.close();
  const failing = new Writable({ write: (_chunk, _encoding, done) => done(new Error('EPIPE')) });
  failing.on('error', () => {});
  t.notOk(await streamSink(failing).write(Buffer.from('x')));
});
