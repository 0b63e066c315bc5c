import t from 'tap';
import { type Capture, MAX_QUEUED_BYTES } from '../../../host/capture/capture.js';
import { MAX_CAPTURES } from '../../../host/capture/captures.js';
import { endedByHost } from '../../../host/records/ending.js';
import { OperationError, UsageError } from '../../../protocol/errors.js';
import { Bench, finished, outline, readToEnd, segmentsOf } from './fixtures/captured.js';

const CONTAINER = 'container web (1a2b3c4d5e6f)';
const NOTE = { container: 'web', containerId: '1a2b3c4d5e6f' };

t.test('only the forwards that are meant are captured', async (t) => {
  const bench = new Bench('127.0.0.1:8080:80', '8081:81', '8080:80/udp');
  const rule = bench.forwards[1]?.rule;
  if (rule) Object.assign(rule, NOTE);
  const names = ['8080', '8080-8081', '8080/udp', 'web', '1a2b3c4d5e6f', '1a2b3c4d5e6f7788'];
  const captures = names.map((of) => bench.start({ of }));
  for (const [index] of bench.forwards.entries())
    bench.connect(undefined, index).open().dialled().client('x');
  const counts = [];
  for (const capture of captures) counts.push((await finished(capture)).packets.length);
  t.same(counts, [5, 10, 1, 5, 5, 5]);
  t.throws(() => bench.start({ of: '9999' }), {
    constructor: OperationError,
    message: /^there is no forward of 9999 /,
  });
  t.throws(() => bench.start({ of: 'db' }), OperationError);
  t.throws(() => bench.start({ of: '/' }), UsageError);
  t.throws(() => bench.start({ of: undefined }), UsageError);
});

t.test('a capture says what it shows', async (t) => {
  const bench = new Bench();
  const rule = bench.forwards[0]?.rule;
  if (rule) Object.assign(rule, NOTE);
  const capture = bench.start({ snapLength: 100 });
  bench.connect().open().dialled().client(Buffer.alloc(500));
  const read = await finished(capture);
  t.match(read, {
    application: 'portferry 1.2.3',
    comments: [`a capture of tcp localhost:8080 → tcp 127.0.0.1:80, ${CONTAINER}`],
    description: `tcp localhost:8080 → tcp 127.0.0.1:80, ${CONTAINER}`,
    snapLength: 100,
  });
  t.same([read.packets[3]?.bytes.length, read.packets[3]?.length], [100, 540], 'cut, and it says so');
  t.match(read.packets[0]?.comments[0], /, container web \(1a2b3c4d5e6f\); client 127\.0\.0\.1:50000$/);
});

t.test('a capture ends by each of its limits, whole', async (t) => {
  const bench = new Bench();
  const counted = bench.start({ packets: 4 });
  const small = bench.start({ maxBytes: 4096 });
  const short = bench.start({ seconds: 0.001 });
  const connection = bench.connect().open().dialled().client('1').client('2');
  connection.client(Buffer.alloc(4000));
  const byCount = await readToEnd(counted);
  t.same(outline(byCount), ['> S', '< SA', '> A', '> AP 1']);
  t.match(byCount.endComments, ['it has as many packets as were asked for (--count 4)']);
  const bySize = await readToEnd(small);
  t.match(bySize.endComments, ['it has as many bytes as it may have (--max-bytes 4096)']);
  t.match((await readToEnd(short)).endComments, ['the time is over (--duration 0.001)']);
  t.equal(connection.tap, undefined, 'nobody looks any more');
});

t.test('remarks that do not fit into the end are left out, and of many some are kept', async (t) => {
  const bench = new Bench('53:53/udp');
  const small = bench.start({ of: '53/udp', maxBytes: 4096 });
  const large = bench.start({ of: '53/udp' });
  for (let count = 0; count < 60; count++)
    bench
      .connect()
      .open()
      .end(endedByHost({ code: 'IDLE', message: 'x'.repeat(100) }));
  t.equal((await finished(small)).endComments.length, 1);
  t.equal((await finished(large)).endComments.length, 51);
});

t.test('a reader that is slow makes packets drop, never wait', async (t) => {
  const bench = new Bench();
  const capture = bench.start();
  const connection = bench.connect().open().dialled();
  const piece = Buffer.alloc(60 * 1024);
  const pieces = Math.ceil(MAX_QUEUED_BYTES / piece.length) + 20;
  for (let count = 0; count < pieces; count++) connection.server(piece);
  const chunks: Buffer[] = [];
  capture.stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  while (
    capture.stream.readableFlowing &&
    chunks.reduce((sum, chunk) => sum + chunk.length, 0) < MAX_QUEUED_BYTES - 2 * piece.length
  )
    await new Promise(setImmediate);
  connection.server('after the gap');
  capture.finish('done');
  await new Promise((resolve) => capture.stream.once('end', resolve));
  const { readPcapng } = await import('./fixtures/read-pcapng.js');
  const read = readPcapng(Buffer.concat(chunks));
  const gap = read.packets.find(({ lost }) => lost > 0);
  t.ok(gap, 'the packet behind the gap says how many are missing');
  t.equal(
    read.packets.reduce((sum, { lost }) => sum + lost, 0),
    read.dropped,
  );
  t.equal(read.packets.length + (read.dropped ?? 0), read.received);
  t.equal(segmentsOf(read).filter(({ payload }) => payload.equals(Buffer.from('after the gap'))).length, 1);
});

t.test('there are so many captures at once, and each is stopped by its id', async (t) => {
  const bench = new Bench();
  const captures = Array.from({ length: MAX_CAPTURES }, () => bench.start());
  t.ok(bench.captures.full);
  const [first, second, ...others] = captures;
  t.ok(bench.captures.stop(first?.id ?? -1));
  t.notOk(bench.captures.stop(first?.id ?? -1));
  second?.stream.destroy();
  await new Promise((resolve) => second?.stream.once('close', resolve));
  t.notOk(bench.captures.full, 'a reader that has gone makes room, too');
  bench.connect().open().dialled();
  const reads = others.map((capture) => readToEnd(capture));
  await bench.captures.close();
  for (const read of await Promise.all(reads)) t.match(read.endComments, ['the host has stopped']);
  first?.finish('once more');
});

t.test('a host that stops does not wait for a reader that does not read', async (t) => {
  const bench = new Bench();
  const capture = bench.start();
  await bench.captures.close();
  t.ok(capture.over);
});

t.test('two captures see the same connection, and long names are cut', async (t) => {
  const bench = new Bench();
  const rule = bench.forwards[0]?.rule;
  if (rule) rule.annotation = 'ä'.repeat(5000);
  const captures = [bench.start(), bench.start()];
  const connection = bench.connect().open().dialled().client('a').server('b');
  connection.tap?.clientEnded();
  connection.tap?.serverEnded();
  connection.end();
  const [one, other] = [await finished(captures[0] as Capture), await finished(captures[1] as Capture)];
  t.equal(one.packets.length, 11);
  t.same(outline(one), outline(other));
  t.ok((one.description?.length ?? 0) < 2000);
});

t.test('a capture may be over with the connections that are there', async (t) => {
  const bench = new Bench();
  const waiting = bench.connect();
  const capture = bench.start({ packets: 1 });
  t.ok(capture.over);
  t.equal(waiting.open().tap, undefined);
  t.same(outline(await readToEnd(capture)), ['> S']);
});
