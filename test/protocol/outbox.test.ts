import t from 'tap';
import { type Link, MAX_QUEUED_CONTROL_BYTES, Outbox } from '../../protocol/outbox.js';
import { SlabPool } from '../../protocol/slab.js';
import { FrameDecoder } from '../../protocol/wire/decoder.js';
import { encodePing } from '../../protocol/wire/extension.js';
import { DATA_HEADER_BYTES, FRAME_HEADER_BYTES, putHeader } from '../../protocol/wire/frame.js';
import { Transcript } from './fixtures/recording.js';

const BATCH_BYTES = 64 * 1024;

/** Takes what it is given, or keeps a view of it, as `taking` says. */
class TestLink implements Link {
  taking = true;
  sends: Uint8Array[] = [];

  send(bytes: Uint8Array): boolean {
    this.sends.push(this.taking ? Buffer.from(bytes) : bytes);
    return this.taking;
  }

  close(): void {}

  destroy(): void {}

  /** What was sent, decoded only now: memory that was used again shows. */
  get lines(): string[] {
    const transcript = new Transcript();
    const decoder = new FrameDecoder(transcript);
    for (const bytes of this.sends) decoder.push({ bytes: Buffer.from(bytes) }, 0, bytes.length);
    return transcript.lines;
  }
}

function setup(): { link: TestLink; pool: SlabPool; outbox: Outbox } {
  const link = new TestLink();
  const pool = new SlabPool();
  return { link, pool, outbox: new Outbox(link, pool) };
}

/** A Close for stream `id`, as the multiplexer adds it. */
function addClose(outbox: Outbox, id: number): void {
  outbox.addShort(FRAME_HEADER_BYTES, (into, at) => putHeader(into, at, FRAME_HEADER_BYTES, 2, id));
}

function closes(count: number, first = 0): string[] {
  return Array.from({ length: count }, (_, index) => `close ${first + index}`);
}

t.test('small frames go out in one write, in their order', (t) => {
  const { link, outbox } = setup();
  addClose(outbox, 1);
  t.equal(outbox.takesSmall(5), true);
  outbox.addSmall(2, Buffer.from('..hello..'), 2, 7);
  outbox.addFrame(encodePing(3));
  t.same(link.sends, []);
  outbox.flush();
  t.equal(link.sends.length, 1);
  t.same(link.lines, ['close 1', 'data 2 5', 'extension 18 0 0300000000000000']);
  outbox.flush();
  t.equal(link.sends.length, 1, 'nothing is left');
  t.end();
});

t.test('a large payload goes out in place, after what was collected', (t) => {
  const { link, pool, outbox } = setup();
  const slab = pool.acquire();
  addClose(outbox, 1);
  t.equal(outbox.takesSmall(16 * 1024), true);
  t.equal(outbox.takesSmall(16 * 1024 + 1), false);
  t.equal(outbox.sendInPlace(2, slab, DATA_HEADER_BYTES, DATA_HEADER_BYTES + 100_000), true);
  t.same(link.lines, ['close 1', 'data 2 100000']);
  t.equal(link.sends[1]?.length, DATA_HEADER_BYTES + 100_000, 'header and payload in one write');
  t.equal(slab.holds, 1, 'the link has taken it');
  t.end();
});

t.test('a slab the link has not taken is held until it is drained', (t) => {
  const { link, pool, outbox } = setup();
  const slab = pool.acquire();
  link.taking = false;
  t.equal(outbox.sendInPlace(2, slab, DATA_HEADER_BYTES, 1000), true, 'on its way');
  t.equal(outbox.blocked, true);
  pool.release(slab);
  t.equal(pool.out, 1);
  t.not(pool.acquire(), slab);
  const next = pool.acquire();
  t.equal(outbox.sendInPlace(3, next, DATA_HEADER_BYTES, 1000), false);
  t.equal(next.holds, 1);
  t.equal(link.sends.length, 1);
  outbox.drained();
  t.equal(outbox.blocked, false);
  t.equal(pool.out, 2);
  t.equal(pool.acquire(), slab);
  outbox.drained();
  t.equal(pool.out, 3, 'released once');
  t.end();
});

t.test('a batch the link has not taken is left alone until it is drained, and then used again', (t) => {
  const { link, outbox } = setup();
  link.taking = false;
  const memories: ArrayBufferLike[] = [];
  for (let round = 0; round < 4; round++) {
    addClose(outbox, 2 * round);
    outbox.flush();
    addClose(outbox, 2 * round + 1);
    outbox.flush();
    memories.push(...link.sends.slice(memories.length).map((bytes) => bytes.buffer));
    t.equal(link.sends.length, round + 1, 'blocked');
    t.same(link.lines.at(-1), round === 0 ? 'close 0' : `close ${2 * round}`);
    outbox.drained();
  }
  t.equal(new Set(memories).size, 2, 'two buffers take turns');
  t.equal(memories[0], memories[2]);
  t.end();
});

t.test('while the link is blocked: control and one batch of small payloads find room, in order', (t) => {
  const { link, pool, outbox } = setup();
  const slab = pool.acquire();
  link.taking = false;
  outbox.sendInPlace(1, slab, DATA_HEADER_BYTES, 1000);
  let small = 0;
  while (outbox.takesSmall(8192)) {
    outbox.addSmall(2, slab.bytes, 0, 8192);
    small++;
  }
  t.equal(small, 7, '64 KiB hold seven, each with its header');
  const count = 10_000;
  for (let id = 0; id < count; id++) addClose(outbox, id);
  outbox.addFrame(Buffer.alloc(BATCH_BYTES - 20_000 * 2, encodePing(1)).subarray(0, 15 * 1000));
  t.equal(outbox.takesSmall(1), false, 'payload does not ride along with control that waits');
  t.equal(link.sends.length, 1);
  link.taking = true;
  outbox.drained();
  outbox.flush();
  t.same(link.lines, [
    `data 1 ${1000 - DATA_HEADER_BYTES}`,
    ...Array.from({ length: 7 }, () => 'data 2 8192'),
    ...closes(count),
    ...Array.from({ length: 1000 }, () => 'extension 18 0 0100000000000000'),
  ]);
  t.equal(outbox.takesSmall(1), true);
  t.end();
});

t.test('full batches go one by one when the link takes them one by one', (t) => {
  const { link, outbox } = setup();
  link.taking = false;
  addClose(outbox, 0);
  outbox.flush();
  const perBatch = Math.floor(BATCH_BYTES / FRAME_HEADER_BYTES);
  for (let id = 1; id <= 2 * perBatch + 10; id++) addClose(outbox, id);
  for (const sends of [2, 3, 4]) {
    outbox.drained();
    t.equal(outbox.takesSmall(1), sends > 2, 'room for payload only when no full batch waits');
    outbox.flush();
    t.equal(link.sends.length, sends);
  }
  t.same(link.lines, closes(2 * perBatch + 11));
  t.end();
});

t.test('a payload that no longer fits sends the batch before it', (t) => {
  const { link, outbox } = setup();
  const payload = Buffer.alloc(16_000);
  for (let count = 0; count < 5; count++) {
    t.equal(outbox.takesSmall(payload.length), true);
    outbox.addSmall(1, payload, 0, payload.length);
  }
  t.equal(link.sends.length, 1);
  addClose(outbox, 1);
  outbox.flush();
  t.same(link.lines, [...Array.from({ length: 5 }, () => 'data 1 16000'), 'close 1']);
  t.end();
});

t.test('a frame that no longer fits sends the batch before it', (t) => {
  const { link, outbox } = setup();
  const pings = Math.floor(BATCH_BYTES / 15);
  for (let count = 0; count <= pings; count++) outbox.addFrame(encodePing(0));
  t.equal(link.sends.length, 1);
  t.equal(link.lines.length, pings);
  t.end();
});

t.test('control for a peer that does not read is bounded: beyond, frames are dropped', (t) => {
  const { link, outbox } = setup();
  link.taking = false;
  addClose(outbox, 0);
  outbox.flush();
  const frame = Buffer.alloc(BATCH_BYTES);
  let added = 0;
  for (; !outbox.overflowed; added++) outbox.addFrame(frame);
  t.equal(added - 1, MAX_QUEUED_CONTROL_BYTES / BATCH_BYTES);
  for (let count = 0; count < 10; count++) outbox.addFrame(frame);
  addClose(outbox, 1);
  link.taking = true;
  outbox.drained();
  outbox.flush();
  const sent = link.sends.reduce((sum, bytes) => sum + bytes.length, 0);
  t.ok(sent <= MAX_QUEUED_CONTROL_BYTES + BATCH_BYTES + FRAME_HEADER_BYTES, `${sent} bytes`);
  t.equal(outbox.overflowed, false);
  t.end();
});

t.test('sendLast: everything goes to the link, blocked or not, and may stay there', (t) => {
  const { link, outbox } = setup();
  link.taking = false;
  addClose(outbox, 0);
  outbox.flush();
  const perBatch = Math.floor(BATCH_BYTES / FRAME_HEADER_BYTES);
  for (let id = 1; id <= perBatch + 10; id++) addClose(outbox, id);
  outbox.sendLast();
  t.same(link.lines, closes(perBatch + 11));
  for (let id = 0; id < 10; id++) addClose(outbox, 77);
  t.same(link.lines, closes(perBatch + 11), 'what the link has keeps its memory');
  outbox.discard();
  outbox.sendLast();
  t.equal(link.sends.length, 3, 'nothing was left');
  t.end();
});

t.test('discard: nothing more is sent, but a slab on its way is held until the link lets go', (t) => {
  const { link, pool, outbox } = setup();
  link.taking = false;
  const slab = pool.acquire();
  outbox.sendInPlace(1, slab, DATA_HEADER_BYTES, 1000);
  pool.release(slab);
  addClose(outbox, 1);
  outbox.discard();
  t.equal(pool.out, 1);
  outbox.flush();
  t.equal(link.sends.length, 1);
  outbox.releaseSent();
  t.equal(pool.out, 0);
  outbox.releaseSent();
  t.equal(pool.out, 0);
  t.equal(outbox.sendInPlace(1, pool.acquire(), DATA_HEADER_BYTES, 1000), false);
  t.end();
});
