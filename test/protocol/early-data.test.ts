import t from 'tap';
import type { Slab } from '../../protocol/slab.js';
import type { Stream } from '../../protocol/stream.js';
import { WINDOW_BUDGET_BYTES, WINDOW_GROWTH_MS } from '../../protocol/window.js';
import { EARLY_DATA_BYTES, encodeOpenResult, encodeReset } from '../../protocol/wire/extension.js';
import { encodeOpen } from '../../protocol/wire/frame.js';
import { closeFrame, dataFrame, dataHeader, shutdownFrame, windowFrame } from './fixtures/frames.js';
import { randomFrom } from './fixtures/memory-link.js';
import {
  accept,
  connect,
  everything,
  framesOf,
  GAVE_UP,
  pump,
  RecordingHandler,
  Solo,
  WEB,
  withoutEarlyData,
  write,
} from './fixtures/recording.js';

const TOP = 0xffff_ffff;
const REFUSED = { code: 'ECONNREFUSED', message: 'connect ECONNREFUSED 127.0.0.1:80' };
/** Bytes whose order shows. */
const FULL = Buffer.from(Array.from({ length: EARLY_DATA_BYTES }, (_, index) => (index * 7919) >>> 5));

/** A handler that keeps what it hears in one list, payload included. */
class Listener extends RecordingHandler {
  heard: string[] = [];

  override onData(slab: Slab, start: number, end: number): void {
    super.onData(slab, start, end);
    this.heard.push(slab.bytes.toString('latin1', start, end));
  }

  override onShutdown(): void {
    this.heard.push('(shutdown)');
  }

  override onClosed(end: Parameters<RecordingHandler['onClosed']>[0]): void {
    super.onClosed(end);
    this.heard.push(`(${end.how})`);
  }
}

/** An end that has been sent the Open of stream 4, and what else, and has not accepted it. */
function opened(features: ConstructorParameters<typeof Solo>[0], ...frames: Buffer[]) {
  const end = new Solo(features);
  end.owner.accept = () => {};
  end.receive(encodeOpen(4, WEB), ...frames);
  const [stream] = end.owner.streams;
  if (!stream) throw new Error('not opened');
  return { end, stream };
}

function listen(stream: Stream): Listener {
  const listener = new Listener();
  listener.stream = stream;
  stream.accept(listener);
  return listener;
}

function streamOf(handler: RecordingHandler): Stream {
  if (!handler.stream) throw new Error('not opened');
  return handler.stream;
}

function windowsOf(sent: string[]): string[] {
  return sent.filter((line) => line.startsWith('window'));
}

t.test('payload goes out right behind Open, and right after accept, with no Window', (t) => {
  const end = new Solo(everything);
  t.equal(write(streamOf(end.open()), Buffer.alloc(100)), true);
  t.same(end.sent, [`open ${TOP} tcp 127.0.0.1:80`, `data ${TOP} 100`]);
  end.receive(encodeOpen(4, WEB), dataFrame(4, Buffer.from('request')));
  const [handler] = end.owner.handlers;
  t.equal(handler?.data.toString(), 'request');
  t.equal(write(handler?.stream as Stream, Buffer.from('answer')), true);
  t.same(end.sent.slice(2), ['data 4 6']);
  t.end();
});

t.test('an exchange of 100 bytes each way needs no Window frame at all', (t) => {
  for (let seed = 0; seed < 20; seed++) {
    const { a, b, run } = connect(randomFrom(seed));
    b.owner.accept = (stream) => {
      const handler = accept(stream);
      handler.shut = () => {
        write(stream, handler.data);
        stream.shutdown();
      };
    };
    const handler = a.open();
    write(streamOf(handler), FULL.subarray(0, 100));
    handler.stream?.shutdown();
    run();
    t.ok(handler.data.equals(FULL.subarray(0, 100)), `seed ${seed}`);
    t.same(handler.end, { how: 'closed' });
    for (const { link } of [a, b]) t.same(windowsOf(framesOf(Buffer.concat(link.delivered))), []);
  }
  t.end();
});

t.test('a peer that has not announced it gets the first Window, and nothing before its own', (t) => {
  const unaware = [
    new Solo('plain'),
    new Solo(withoutEarlyData),
    new Solo(everything, { features: withoutEarlyData }),
  ];
  for (const end of unaware) {
    const stream = streamOf(end.open());
    t.equal(write(stream, Buffer.alloc(100)), false);
    t.match(end.sent, [/^open /, `window ${TOP} 65536`]);
    end.receive(windowFrame(TOP, 10));
    t.same(end.sent.slice(2), [`data ${TOP} 10`]);

    end.receive(encodeOpen(4, WEB));
    t.same(end.sent.slice(3), ['window 4 65536'], 'when it is accepted');
    t.equal(write(end.owner.handlers[0]?.stream as Stream, Buffer.alloc(100)), false);
    end.receive(windowFrame(4, 100));
    t.same(end.sent.slice(4), ['data 4 100']);
    t.equal(end.ended, undefined);
  }
  t.end();
});

t.test('what is more than the early data waits for a Window', (t) => {
  const end = new Solo(everything);
  const handler = end.open();
  const stream = streamOf(handler);
  t.equal(write(stream, Buffer.concat([FULL, Buffer.from('abc')])), false);
  stream.shutdown();
  t.same(end.sent.slice(1), [`data ${TOP} ${EARLY_DATA_BYTES}`]);
  end.receive(windowFrame(TOP, EARLY_DATA_BYTES));
  t.equal(end.sent.length, 2, 'the same allowance again');
  end.receive(windowFrame(TOP, EARLY_DATA_BYTES + 3));
  t.same(end.sent.slice(2), [`data ${TOP} 3`, `shutdown ${TOP}`]);
  t.end();
});

t.test('an allowance below it shrinks, also the first one', (t) => {
  const message = `window ${EARLY_DATA_BYTES - 1} on stream ${TOP}, which had ${EARLY_DATA_BYTES} before`;
  const reason = { code: 'WINDOW_SHRANK', message };
  const end = new Solo(everything);
  const handler = end.open();
  end.receive(windowFrame(TOP, EARLY_DATA_BYTES - 1));
  t.same(handler.end, { how: 'reset', reason });
  t.equal(end.ended, undefined);

  const unable = new Solo(['early-data']);
  unable.open();
  unable.receive(windowFrame(TOP, EARLY_DATA_BYTES - 1));
  t.same(unable.owner.ends, [reason]);
  t.end();
});

t.test('before accept it is kept, and told in order soon after it, the half-close behind it', async (t) => {
  const { end, stream } = opened(everything, dataFrame(4, Buffer.from('one ')));
  end.receive(dataFrame(4, Buffer.from('two ')));
  t.match(stream.describe(), 'received=8/16384 unread=8');
  const listener = listen(stream);
  t.same(listener.heard, [], 'not before accept has returned');
  end.receive(dataFrame(4, Buffer.from('three')), shutdownFrame(4));
  t.same(listener.heard, [], 'nor ahead of its turn');
  await Promise.resolve();
  t.same(listener.heard, ['one two three', '(shutdown)']);
  t.match(stream.describe(), 'unread=0');
  t.equal(write(stream, Buffer.from('answer')), true);
  stream.shutdown();
  end.receive(closeFrame(4));
  t.same(listener.heard.slice(2), ['(closed)']);
  t.same(end.sent, ['data 4 6', 'shutdown 4', 'close 4']);
  t.equal(end.multiplexer.streams.size, 0);
});

t.test('what comes after accept comes after it', async (t) => {
  const { end, stream } = opened(everything, dataFrame(4, Buffer.from('one')));
  const listener = listen(stream);
  await Promise.resolve();
  end.receive(dataFrame(4, Buffer.from('two')));
  t.same(listener.heard, ['one', 'two']);
});

t.test('before accept: all of it, in frames of one byte, takes no more than its place', async (t) => {
  const frames = Array.from(FULL, (byte) => dataFrame(4, Buffer.of(byte)));
  const { end, stream } = opened(everything, ...frames.slice(0, 1000));
  // The rest comes cut anywhere; the memory that it comes in is overwritten each time.
  const rest = Buffer.concat(frames.slice(1000));
  for (let at = 0; at < rest.length; at += 1007) end.receive(rest.subarray(at, at + 1007));
  const handler = accept(stream);
  await Promise.resolve();
  t.ok(handler.data.equals(FULL));
  t.equal(handler.chunks.length, 1);
  t.equal(end.link.pool.out, 1, 'no slab is held for it');
});

t.test('before accept: then the end, and nothing of it is lost', async (t) => {
  const data = dataFrame(4, Buffer.from('early'));
  const ends: [Buffer[], string[]][] = [
    [
      [shutdownFrame(4), closeFrame(4)],
      ['early', '(shutdown)', '(closed)'],
    ],
    [[encodeReset(4, GAVE_UP)], ['early', '(reset)']],
    [[closeFrame(4)], ['early', '(reset)']],
    [
      [dataHeader(4, EARLY_DATA_BYTES), Buffer.alloc(EARLY_DATA_BYTES)],
      ['early', '(reset)'],
    ],
  ];
  for (const [frames, heard] of ends) {
    const { end, stream } = opened(everything, data, ...frames);
    const listener = listen(stream);
    await Promise.resolve();
    t.same(listener.heard, heard);
    t.equal(end.multiplexer.budget.free, WINDOW_BUDGET_BYTES);
    t.equal(end.ended, undefined);
  }
  const { end, stream } = opened(everything, data);
  end.multiplexer.fail(GAVE_UP);
  const listener = listen(stream);
  await Promise.resolve();
  t.same(listener.heard, ['early', '(lost)']);
});

t.test('before accept: a handler that gives the stream up hears nothing more', async (t) => {
  const frames = [dataFrame(4, Buffer.from('early')), shutdownFrame(4)];
  const { end, stream } = opened(everything, ...frames);
  const listener = listen(stream);
  listener.onData = () => stream.reset(GAVE_UP);
  await Promise.resolve();
  t.same(listener.heard, []);
  t.match(end.sent, [/^extension 17 4 /]);

  for (const giveUp of [
    (stream: Stream) => stream.reset(GAVE_UP),
    (stream: Stream) => stream.refuse('dial', GAVE_UP),
  ]) {
    const { stream } = opened(everything, ...frames);
    const other = listen(stream);
    giveUp(stream);
    await Promise.resolve();
    t.same(other.heard, [], 'also when it does so before it is told');
  }
});

t.test('before accept: a handler may end its own direction while it is told', async (t) => {
  const { end, stream } = opened(everything, dataFrame(4, Buffer.from('early')), shutdownFrame(4));
  const listener = listen(stream);
  listener.onData = () => {
    listener.heard.push('early');
    stream.shutdown();
  };
  await Promise.resolve();
  t.same(listener.heard, ['early', '(shutdown)']);
  t.same(end.sent, ['shutdown 4', 'close 4']);
  end.receive(closeFrame(4));
  t.same(listener.heard.slice(2), ['(closed)']);
});

t.test('bounded by the window: one byte too many is a violation', (t) => {
  const message = `received ${EARLY_DATA_BYTES + 1} bytes on stream 4, allowed ${EARLY_DATA_BYTES}`;
  const reason = { code: 'WINDOW_EXCEEDED', message };
  for (const accepted of [true, false]) {
    for (const features of [everything, ['early-data'] as const]) {
      const { end, stream } = opened(features);
      const handler = accepted ? accept(stream) : undefined;
      if (handler) handler.reads = false;
      end.receive(dataFrame(4, FULL.subarray(1)), dataFrame(4, FULL.subarray(0, 1)));
      t.equal(stream.over, false);
      t.equal(end.ended, undefined, 'all of it is no violation');
      end.receive(dataFrame(4, Buffer.from('x')), encodeOpen(6, WEB));
      t.equal(stream.over, true);
      if (features === everything) {
        t.match(end.sent, [/^extension 17 4 /], 'the stream is reset');
        t.same(end.owner.streams.at(-1)?.id, 6, 'and what comes after it is understood');
        if (handler) t.same(handler.end, { how: 'reset', reason });
      } else t.same(end.owner.ends, [reason]);
      t.equal(stream.bytesReceived, EARLY_DATA_BYTES);
    }
  }
  t.end();
});

t.test('refused, with early data on its way: it is skipped and counted, and what follows understood', (t) => {
  const late = [dataFrame(4, FULL.subarray(0, 1000)), dataFrame(4, FULL.subarray(0, 500)), shutdownFrame(4)];
  const refusals: [string, () => Solo][] = [
    [
      'by its owner',
      () => {
        const end = new Solo(everything);
        end.owner.accept = (stream) => (stream.id === 4 ? stream.refuse('dial', REFUSED) : accept(stream));
        return end;
      },
    ],
    ['for the limit', () => new Solo(everything, { maxStreams: 0 })],
    [
      'because this end is stopping',
      () => {
        const end = new Solo(everything);
        end.multiplexer.goAway(GAVE_UP);
        return end;
      },
    ],
  ];
  for (const [name, make] of refusals) {
    const end = make();
    const before = end.sent.length;
    end.receive(encodeOpen(4, WEB), ...late);
    t.match(end.sent.slice(before), [/^extension 16 4 /, 'close 4'], name);
    end.receive(closeFrame(4), encodeOpen(6, WEB), dataFrame(6, Buffer.alloc(1)));
    t.match(end.multiplexer.skipped, { data: name === 'by its owner' ? 2 : 3, unknown: 0 });
    t.equal(end.multiplexer.skipped.dataBytes, name === 'by its owner' ? 1500 : 1501);
    t.equal(end.ended, undefined);
    t.equal(end.multiplexer.streams.has(4), false);
    t.equal(end.multiplexer.budget.free, WINDOW_BUDGET_BYTES);
  }
  t.end();
});

t.test('refused later: what was kept is dropped, what still comes is skipped', async (t) => {
  const { end, stream } = opened(everything, dataFrame(4, Buffer.from('kept')));
  stream.refuse('service', REFUSED);
  end.receive(dataFrame(4, Buffer.from('late')));
  const listener = listen(stream);
  await Promise.resolve();
  t.same(listener.heard, []);
  t.match(end.multiplexer.skipped, { data: 1, dataBytes: 4 });
  end.receive(closeFrame(4));
  t.equal(end.multiplexer.streams.size, 0);
});

t.test('refused: the opener hears why, sends its Close, and nothing of what waits', (t) => {
  const end = new Solo(everything);
  const handler = end.open();
  write(streamOf(handler), Buffer.alloc(EARLY_DATA_BYTES + 5000));
  t.same(end.sent.slice(1), [`data ${TOP} ${EARLY_DATA_BYTES}`]);
  const result = { step: 'dial', micros: 1, reason: REFUSED } as const;
  end.receive(encodeOpenResult(TOP, result), closeFrame(TOP));
  t.same(handler.end, { how: 'refused', result });
  t.same(end.sent.slice(2), [`close ${TOP}`]);
  t.equal(end.multiplexer.streams.size, 0);
  t.end();
});

t.test('refused while both are at it: nothing of the streams is left, whatever the link does', (t) => {
  for (let seed = 0; seed < 30; seed++) {
    const { a, b, run } = connect(randomFrom(seed));
    b.owner.accept = (stream) => stream.refuse('dial', REFUSED);
    const handlers = Array.from({ length: 5 }, () => a.open());
    for (const handler of handlers)
      pump(handler, FULL.subarray(0, 10_000), 1 + seed * 300, () => handler.stream?.shutdown());
    run();
    for (const handler of handlers) t.match(handler.end, { how: 'refused', result: { reason: REFUSED } });
    const { data, dataBytes } = b.multiplexer.skipped;
    t.equal(data > 0, dataBytes > 0);
    for (const { multiplexer, owner, link } of [a, b]) {
      t.equal(multiplexer.streams.size, 0);
      t.equal(link.pool.out, 1);
      t.same(owner.ends, []);
    }
  }
  t.end();
});

t.test('a Window comes when more than half of it was consumed, and then the window grows', (t) => {
  const { end, stream } = opened(everything);
  const handler = accept(stream);
  const half = EARLY_DATA_BYTES / 2;
  end.now = 1;
  end.receive(dataFrame(4, FULL.subarray(0, half)));
  t.same(end.sent, [], 'half is left');
  end.receive(dataFrame(4, FULL.subarray(0, 1)));
  t.same(end.sent, [`window 4 ${half + 1 + EARLY_DATA_BYTES}`]);
  t.equal(end.multiplexer.budget.free, WINDOW_BUDGET_BYTES, 'one size, which is the minimum');
  end.now += WINDOW_GROWTH_MS - 1;
  end.receive(dataFrame(4, FULL.subarray(0, half + 1)));
  t.same(end.sent.slice(1), [`window 4 ${EARLY_DATA_BYTES + 2 + 2 * EARLY_DATA_BYTES}`], 'that was fast');
  t.equal(end.multiplexer.budget.free, WINDOW_BUDGET_BYTES - EARLY_DATA_BYTES);
  end.now += WINDOW_GROWTH_MS;
  end.receive(dataFrame(4, FULL), dataFrame(4, FULL.subarray(0, 1)));
  t.same(end.sent.slice(2), [`window 4 ${2 * EARLY_DATA_BYTES + 3 + 2 * EARLY_DATA_BYTES}`], 'that was not');
  handler.stream?.reset(GAVE_UP);
  t.equal(end.multiplexer.budget.free, WINDOW_BUDGET_BYTES);
  t.end();
});

t.test('bytes that were kept before accept are credited when their reader has taken them', async (t) => {
  const { end, stream } = opened(everything, dataFrame(4, FULL));
  t.same(end.sent, [], 'received is not consumed');
  const handler = new RecordingHandler();
  handler.stream = stream;
  handler.reads = false;
  stream.accept(handler);
  await Promise.resolve();
  t.equal(handler.unread, EARLY_DATA_BYTES);
  t.same(end.sent, []);
  handler.read();
  t.same(end.sent, [`window 4 ${2 * EARLY_DATA_BYTES}`]);
});

t.test('budget: streams take nothing of it before they are busy', (t) => {
  const { a, b, run } = connect(randomFrom(1));
  const handlers = Array.from({ length: 500 }, () => a.open());
  for (const handler of handlers) write(streamOf(handler), Buffer.alloc(100));
  run();
  t.equal(b.owner.handlers.length, 500);
  for (const { multiplexer } of [a, b]) t.equal(multiplexer.budget.free, WINDOW_BUDGET_BYTES);
  const [busy] = handlers;
  if (busy) pump(busy, Buffer.alloc(1_000_000), 50_000);
  run();
  t.equal(a.multiplexer.budget.free, WINDOW_BUDGET_BYTES);
  t.ok(b.multiplexer.budget.free < WINDOW_BUDGET_BYTES);
  for (const handler of handlers) handler.stream?.reset(GAVE_UP);
  run();
  t.equal(b.multiplexer.budget.free, WINDOW_BUDGET_BYTES);
  t.end();
});
