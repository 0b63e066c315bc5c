import t from 'tap';
import { Slab } from '../../protocol/slab.js';
import type { Stream } from '../../protocol/stream.js';
import { INITIAL_WINDOW_BYTES, WINDOW_BUDGET_BYTES } from '../../protocol/window.js';
import { EARLY_DATA_BYTES, encodeOpenResult, encodeReset } from '../../protocol/wire/extension.js';
import { encodeOpen } from '../../protocol/wire/frame.js';
import { closeFrame, dataFrame, dataHeader, shutdownFrame, windowFrame } from './fixtures/frames.js';
import { randomFrom } from './fixtures/memory-link.js';
import {
  accept,
  connect,
  everything,
  GAVE_UP,
  type Pair,
  pump,
  type RecordingHandler,
  Solo,
  WEB,
  withoutEarlyData,
  write,
} from './fixtures/recording.js';

const TOP = 0xffff_ffff;
const REFUSED = { code: 'ECONNREFUSED', message: 'connect ECONNREFUSED 127.0.0.1:80' };

interface Joined extends Pair {
  /** The handlers at both ends of one stream, which `a` has opened. */
  atA: RecordingHandler & { stream: Stream };
  atB: RecordingHandler & { stream: Stream };
}

function hasStream(handler: RecordingHandler | undefined): handler is RecordingHandler & { stream: Stream } {
  return handler?.stream !== undefined;
}

/** A stream between two ends, accepted. */
function join(
  seed: number,
  ...options: [Parameters<typeof connect>[1]?, Parameters<typeof connect>[2]?]
): Joined {
  const pair = connect(randomFrom(seed), ...options);
  const atA = pair.a.open();
  pair.run();
  const atB = pair.b.owner.handlers[0];
  if (!hasStream(atA) || !hasStream(atB)) throw new Error('not joined');
  return { ...pair, atA, atB };
}

/** Bytes that are different wherever one looks. */
function pattern(length: number, seed: number): Buffer {
  const random = randomFrom(seed);
  return Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
}

/** A stream that this end has opened to a peer that the test plays. */
function solo(features: ConstructorParameters<typeof Solo>[0]) {
  const end = new Solo(features);
  const handler = end.open();
  if (!hasStream(handler)) throw new Error('not opened');
  const open = `open ${TOP} tcp 127.0.0.1:80`;
  const early = features.includes('early-data');
  t.same(end.sent, early ? [open] : [open, `window ${TOP} ${INITIAL_WINDOW_BYTES}`]);
  return { end, handler, stream: handler.stream };
}

t.test('data both ways at once, half-closes, and the end, whatever the link does', (t) => {
  for (let seed = 0; seed < 30; seed++) {
    const { a, b, atA, atB, run } = join(seed);
    const [up, down] = [pattern(200_000, seed), pattern(300_000, seed + 1)];
    pump(atA, up, 1 + seed * 3000, () => atA.stream.shutdown());
    pump(atB, down, 100_000, () => atB.stream.shutdown());
    run();
    t.ok(atB.data.equals(up), `seed ${seed}`);
    t.ok(atA.data.equals(down));
    for (const handler of [atA, atB]) {
      t.same(handler.end, { how: 'closed' });
      t.same(
        handler.events.filter((event) => event !== 'writable'),
        ['shutdown', 'closed'],
      );
      t.equal(handler.stream.over, true);
    }
    t.equal(atA.stream.bytesSent, up.length);
    t.equal(atB.stream.bytesReceived, up.length);
    for (const end of [a, b]) {
      t.equal(end.multiplexer.streams.size, 0);
      t.equal(end.multiplexer.budget.free, WINDOW_BUDGET_BYTES);
      t.equal(end.link.pool.out, 1);
      t.equal(end.owner.idles, 1);
    }
  }
  t.end();
});

t.test('a half-close in one direction leaves the other', (t) => {
  const { atA, atB, run } = join(1);
  atA.stream.shutdown();
  atA.stream.shutdown();
  run();
  t.same(atB.events, ['shutdown']);
  t.equal(atB.stream.shutdownReceived, true);
  t.equal(atA.stream.over, false);
  pump(atB, Buffer.alloc(500_000, 'x'), 50_000);
  run();
  t.equal(atA.data.length, 500_000);
  t.equal(write(atA.stream, Buffer.from('no more')), true, 'dropped');
  atB.stream.shutdown();
  run();
  t.equal(atB.data.length, 0);
  t.same([atA.end, atB.end], [{ how: 'closed' }, { how: 'closed' }]);
  t.end();
});

t.test('write: what the window does not allow waits, and the half-close behind it', (t) => {
  const { end, handler, stream } = solo('plain');
  t.equal(write(stream, Buffer.from('hello')), false, 'nothing is allowed yet');
  stream.shutdown();
  t.same(end.sent.slice(2), []);
  end.receive(windowFrame(TOP, 3));
  t.same(end.sent.slice(2), [`data ${TOP} 3`]);
  end.receive(windowFrame(TOP, 3));
  t.same(handler.events, []);
  end.receive(windowFrame(TOP, 10));
  t.same(end.sent.slice(3), [`data ${TOP} 2`, `shutdown ${TOP}`]);
  t.equal(stream.bytesSent, 5);
  end.receive(shutdownFrame(TOP), shutdownFrame(TOP));
  t.same(end.sent.slice(5), [`close ${TOP}`]);
  t.equal(stream.over, true);
  t.equal(handler.end, undefined, 'before the Close of the peer');
  end.receive(windowFrame(TOP, 20), shutdownFrame(TOP), closeFrame(TOP));
  t.same(handler.end, { how: 'closed' });
  t.equal(end.multiplexer.streams.size, 0);
  t.end();
});

t.test('write: memory that is lent is copied, other memory is held, until it has gone', (t) => {
  const { end, handler, stream } = solo('plain');
  end.receive(windowFrame(TOP, 2 ** 30));
  end.link.taking = 'never';
  end.link.stalled = true;
  const slab = end.link.pool.acquire();
  const sent = pattern(3 * 40_000, 1);
  sent.copy(slab.room, 0, 0, 40_000);
  t.equal(stream.write(slab, 11, 11 + 40_000, false), true, 'on its way');
  t.equal(slab.holds, 2);
  t.equal(write(stream, sent.subarray(40_000, 80_000), true), false);
  t.equal(end.link.pool.out, 2, 'a copy is no slab of the pool');
  end.link.pool.release(slab);
  handler.writable = () => {
    handler.writable = () => {};
    const next = end.link.pool.acquire();
    sent.copy(next.room, 0, 80_000);
    t.equal(stream.write(next, 11, 11 + 40_000, false), false, 'the link is still busy with the copy');
    end.link.pool.release(next);
  };
  end.link.stalled = false;
  t.same(
    end.sent.slice(2),
    Array.from({ length: 3 }, () => `data ${TOP} 40000`),
  );
  t.ok(Buffer.concat(end.link.delivered).includes(sent.subarray(80_000)));
  t.ok(Buffer.concat(end.link.delivered).includes(sent.subarray(40_000, 80_000)));
  t.equal(end.link.pool.out, 1);
  t.same(handler.events, ['writable', 'writable']);
  t.end();
});

t.test('write: no bytes are no frame, and never wait', (t) => {
  const { end, stream } = solo('plain');
  t.equal(write(stream, Buffer.alloc(0)), true);
  end.receive(windowFrame(TOP, 2 ** 30));
  t.equal(write(stream, Buffer.alloc(0)), true);
  t.equal(end.sent.length, 2);
  t.end();
});

for (const [name, features, first] of [
  ['with early data', everything, EARLY_DATA_BYTES],
  ['without', withoutEarlyData, INITIAL_WINDOW_BYTES],
] as const) {
  t.test(`a window grows with fast use, every byte of credit comes from consumption, ${name}`, (t) => {
    const { a, b, atA, atB, run } = join(2, { features });
    atB.reads = false;
    pump(atA, Buffer.alloc(1_000_000, 'x'), 64 * 1024);
    run();
    t.equal(atB.unread, first, 'no more than its window before it reads');
    t.equal(a.link.queued, 0);
    b.now += 10;
    atB.read();
    run();
    t.equal(atB.data.length, 1_000_000);
    t.ok(b.multiplexer.budget.free < WINDOW_BUDGET_BYTES - 2 * INITIAL_WINDOW_BYTES, 'it has grown');
    t.end();
  });

  t.test(`a reader that stops stops its own stream only, ${name}`, (t) => {
    const { a, b, atA, atB, run } = join(3, { features });
    atB.reads = false;
    pump(atA, Buffer.alloc(10_000_000), 64 * 1024);
    run();
    const other = a.open();
    run();
    pump(other, pattern(300_000, 3), 64 * 1024);
    run();
    t.ok(b.owner.handlers[1]?.data.equals(pattern(300_000, 3)));
    t.equal(atB.unread, first);
    t.end();
  });
}

t.test('refuse: the opener hears the step, the reason and how long it took', (t) => {
  const pair = connect(randomFrom(4));
  const { a, b, run } = pair;
  b.owner.accept = (stream) => {
    stream.refuse('dial', REFUSED, 1500);
    stream.refuse('policy', GAVE_UP);
    stream.reset(GAVE_UP);
    stream.reportConnected(1);
  };
  const handler = a.open();
  run();
  t.same(handler.end, { how: 'refused', result: { step: 'dial', micros: 1500, reason: REFUSED } });
  t.same(handler.events, ['closed']);
  t.equal(b.multiplexer.streams.size, 0);
  t.equal(a.multiplexer.streams.size, 0);
  t.end();
});

t.test('refuse: a plain opener sees Close only, and a plain guest can say no more', (t) => {
  for (const options of [[{ features: [] }, {}] as const, [{}, { features: [] }] as const]) {
    const { a, b, run } = connect(randomFrom(5), ...options);
    b.owner.accept = (stream) => stream.refuse('dial', REFUSED);
    const handler = a.open();
    run();
    t.same(handler.end, { how: 'refused', result: undefined });
    t.equal(b.multiplexer.streams.size, 0);
  }
  t.end();
});

t.test('connected: the opener hears of it once', (t) => {
  const { atA, atB, run } = join(6);
  atB.stream.reportConnected(250);
  atB.stream.reportConnected(300);
  run();
  t.same(atA.events, ['result']);
  t.same(atA.result, { step: 'connected', micros: 250, reason: undefined });
  atB.stream.reset(GAVE_UP);
  run();
  t.same(atA.end, { how: 'reset', reason: GAVE_UP });
  t.end();
});

t.test('connected: said by the opener it means nothing', (t) => {
  const end = new Solo(everything);
  const result = { step: 'dial', micros: 1, reason: REFUSED } as const;
  end.receive(encodeOpen(4, WEB), encodeOpenResult(4, result), closeFrame(4));
  t.match(end.owner.handlers[0]?.end, { how: 'reset', reason: { code: 'CLOSED_EARLY' } });
  t.end();
});

t.test(
  'reset: what waits is dropped, the peer hears the reason, and the one that resets nothing more',
  (t) => {
    const { a, b, atA, atB, run } = join(7);
    atB.reads = false;
    pump(atA, Buffer.alloc(1_000_000), 100_000);
    run();
    atA.stream.reset(GAVE_UP);
    atA.stream.reset(REFUSED);
    t.equal(write(atA.stream, Buffer.from('late')), true);
    atA.stream.shutdown();
    run();
    t.same(atB.end, { how: 'reset', reason: GAVE_UP });
    t.equal(atA.end, undefined);
    t.equal(a.multiplexer.streams.size + b.multiplexer.streams.size, 0);
    t.equal(a.link.pool.out, 1);
    atB.read();
    t.equal(atB.stream.over, true);
    t.end();
  },
);

t.test('idle: whoever opened it has been answered, and all that came has been taken', (t) => {
  const { atA, atB, run } = join(3);
  const idle = (): boolean[] => [atA.stream.idle, atB.stream.idle];
  t.same(idle(), [true, true], 'nothing was asked');
  write(atA.stream, Buffer.from('a request'));
  run();
  t.same(idle(), [false, false]);
  write(atB.stream, Buffer.from('its answer'));
  run();
  t.same(idle(), [true, true]);
  atA.reads = false;
  write(atB.stream, Buffer.from('a word more'));
  run();
  t.same(idle(), [false, true], 'it has not been taken');
  atA.read();
  t.same(idle(), [true, true]);
  write(atB.stream, Buffer.alloc(1_000_000));
  t.same(idle(), [true, false], 'it waits');
  run();
  atA.stream.shutdown();
  run();
  t.same(idle(), [false, false], 'a half-close may be the end of a request');
  atB.stream.shutdown();
  run();
  t.same(idle(), [false, false], 'it is over');
  t.end();
});

t.test('cut: both ends are told', (t) => {
  const { a, atA, atB, run } = join(4);
  atB.stream.cut(GAVE_UP);
  atB.stream.cut(GAVE_UP);
  run();
  t.match(
    [atA.end, atB.end],
    [
      { how: 'reset', reason: GAVE_UP },
      { how: 'reset', reason: GAVE_UP },
    ],
  );
  t.equal(a.multiplexer.streams.size, 0);
  t.end();
});

t.test('reset: both at once', (t) => {
  const { a, b, atA, atB, run } = join(8);
  atA.stream.reset(GAVE_UP);
  atB.stream.reset(GAVE_UP);
  run();
  t.same([atA.end, atB.end], [undefined, undefined]);
  t.equal(a.multiplexer.streams.size + b.multiplexer.streams.size, 0);
  t.end();
});

t.test('reset: also after a half-close it is a reset, and while payload of the stream comes in', (t) => {
  const { end, handler } = solo(everything);
  end.receive(shutdownFrame(TOP), encodeReset(TOP, GAVE_UP));
  t.same(handler.end, { how: 'reset', reason: GAVE_UP });

  const other = solo(everything);
  other.handler.onData = () => other.stream.reset(GAVE_UP);
  const frame = dataFrame(TOP, Buffer.alloc(100));
  other.end.receive(frame.subarray(0, 50));
  other.end.receive(frame.subarray(50), closeFrame(TOP));
  t.equal(other.end.multiplexer.streams.size, 0);
  t.same(other.handler.events, []);
  t.end();
});

t.test('who gives up what was about to end in good order hears nothing of that end', (t) => {
  const { end, handler, stream } = solo(everything);
  end.receive(shutdownFrame(TOP));
  stream.shutdown();
  const { length } = end.sent;
  stream.reset(GAVE_UP);
  end.receive(closeFrame(TOP));
  t.equal(handler.end, undefined);
  t.equal(end.sent.length, length, 'the peer had its Close already');
  t.equal(end.multiplexer.streams.size, 0);
  t.end();
});

t.test('Close of a plain peer: in order after Shutdown, and early otherwise', (t) => {
  const early = solo('plain');
  early.end.receive(dataFrame(TOP, Buffer.from('part')), closeFrame(TOP));
  t.match(early.handler.end, { how: 'reset', reason: { code: 'CLOSED_EARLY' } });
  t.same(early.end.sent.slice(2), [`close ${TOP}`]);

  const refused = solo('plain');
  refused.end.receive(closeFrame(TOP));
  t.same(refused.handler.end, { how: 'refused', result: undefined });

  const connected = solo(everything);
  connected.end.receive(
    encodeOpenResult(TOP, { step: 'connected', micros: 1, reason: undefined }),
    closeFrame(TOP),
  );
  t.match(connected.handler.end, { how: 'reset', reason: { code: 'CLOSED_EARLY' } });

  const inOrder = solo('plain');
  inOrder.end.receive(windowFrame(TOP, 2));
  write(inOrder.stream, Buffer.from('hello'));
  inOrder.end.receive(shutdownFrame(TOP), closeFrame(TOP));
  t.same(inOrder.handler.end, { how: 'closed' });
  t.same(inOrder.end.sent.slice(2), [`data ${TOP} 2`, `close ${TOP}`], 'nothing is sent after Close');
  for (const { end } of [early, refused, connected, inOrder]) t.equal(end.multiplexer.streams.size, 0);
  t.end();
});

t.test('a reset towards a plain peer is a Close', (t) => {
  const { end, stream } = solo('plain');
  stream.reset(GAVE_UP);
  t.same(end.sent.slice(2), [`close ${TOP}`]);
  t.end();
});

t.test('violations reset the stream where the peer knows resets, and end the channel where not', (t) => {
  const violations: [string, Buffer[], string][] = [
    [
      'WINDOW_EXCEEDED',
      [dataHeader(TOP, INITIAL_WINDOW_BYTES + 1), Buffer.alloc(INITIAL_WINDOW_BYTES + 1)],
      `received ${INITIAL_WINDOW_BYTES + 1} bytes on stream ${TOP}, allowed ${INITIAL_WINDOW_BYTES}`,
    ],
    [
      'WINDOW_EXCEEDED',
      [shutdownFrame(TOP), dataFrame(TOP, Buffer.from('more'))],
      `4 bytes on stream ${TOP} after its Shutdown`,
    ],
    [
      'WINDOW_SHRANK',
      [windowFrame(TOP, 100), windowFrame(TOP, 99)],
      `window 99 on stream ${TOP}, which had 100 before`,
    ],
    [
      'WINDOW_TOO_LARGE',
      [Buffer.concat([windowFrame(TOP, 0).subarray(0, 7), Buffer.alloc(8, 0xff)])],
      `window beyond 2^53-1 on stream ${TOP}`,
    ],
  ];
  for (const [code, frames, message] of violations) {
    const { end, handler } = solo(['reset']);
    const other = end.open();
    end.receive(...frames);
    t.same(handler.end, { how: 'reset', reason: { code, message } });
    t.equal(end.ended, undefined);
    t.match(
      end.sent.filter((line) => line.startsWith('extension')),
      [`extension 17 ${TOP}`],
    );
    end.receive(encodeReset(TOP, GAVE_UP), dataFrame(TOP - 1, Buffer.from('goes on')));
    t.equal(other.data.toString(), 'goes on');
    t.equal(end.multiplexer.streams.size, 1);

    const plain = solo('plain');
    plain.end.receive(...frames);
    t.same(plain.end.owner.ends, [{ code, message }]);
    t.match(plain.handler.end, { how: 'lost', reason: { code } });
    t.equal(plain.end.multiplexer.budget.free, WINDOW_BUDGET_BYTES);
  }
  t.end();
});

t.test('Data of no bytes means nothing, at any time, and is counted', (t) => {
  const { end, stream, handler } = solo(everything);
  const empty = dataFrame(TOP, Buffer.alloc(0));
  end.receive(empty, shutdownFrame(TOP), empty);
  t.equal(stream.over, false, 'also after Shutdown');
  stream.shutdown();
  end.receive(empty, closeFrame(TOP), empty);
  t.same(handler.end, { how: 'closed' });
  t.same(handler.data.length, 0);
  t.match(end.multiplexer.skipped, { data: 4, dataBytes: 0 });
  t.equal(end.ended, undefined);
  t.end();
});

t.test('a second Shutdown means nothing', (t) => {
  const { end, handler } = solo(everything);
  end.receive(shutdownFrame(TOP), shutdownFrame(TOP));
  t.same(handler.events, ['shutdown']);
  t.equal(end.ended, undefined);
  t.end();
});

t.test('nothing may come before accept from a peer without early data', (t) => {
  const end = new Solo('plain');
  end.owner.accept = () => {};
  end.receive(encodeOpen(4, WEB), windowFrame(4, 100), dataFrame(4, Buffer.alloc(0)));
  t.equal(end.ended, undefined);
  end.receive(dataFrame(4, Buffer.from('x')));
  t.equal(end.ended, 'WINDOW_EXCEEDED');

  const other = new Solo(withoutEarlyData);
  other.owner.accept = () => {};
  other.receive(encodeOpen(4, WEB), dataFrame(4, Buffer.from('x')));
  t.equal(other.ended, undefined);
  t.match(other.sent, [/^extension 17 4 /], 'the stream is reset');
  t.end();
});

for (const [name, features, allowed] of [
  ['with early data', everything, EARLY_DATA_BYTES],
  ['without', withoutEarlyData, 1000],
] as const) {
  const openFrames = (id: number): Buffer[] => [encodeOpen(id, WEB), windowFrame(id, allowed)];

  t.test(`accept later: what has happened meanwhile is told after it, ${name}`, async (t) => {
    const end = new Solo(features);
    end.owner.accept = () => {};
    const [shut, closed, reset, gaveUp, lost] = [4, 6, 8, 10, 12].map((id) => {
      end.receive(...openFrames(id));
      return end.owner.streams.at(-1);
    });
    end.receive(shutdownFrame(4));
    end.receive(shutdownFrame(6), closeFrame(6));
    end.receive(encodeReset(8, GAVE_UP));
    end.receive(shutdownFrame(10));
    const handlers = [shut, closed, reset, gaveUp].map((stream) => {
      if (!stream) throw new Error('not opened');
      const handler = accept(stream);
      t.same(handler.events, [], 'not before accept has returned');
      return handler;
    });
    gaveUp?.reset(GAVE_UP);
    await Promise.resolve();
    t.same(
      handlers.map((handler) => handler.events),
      [['shutdown'], ['shutdown', 'closed'], ['closed'], []],
    );
    t.same(handlers[1]?.end, { how: 'closed' });
    t.same(handlers[2]?.end, { how: 'reset', reason: GAVE_UP });
    t.equal(write(handlers[0]?.stream as Stream, Buffer.from('answer')), true);
    shut?.shutdown();
    t.same(end.sent.slice(-2), ['shutdown 4', 'close 4']);
    t.same(
      end.sent.filter((line) => line.startsWith('window')),
      [],
      'nothing more comes, so nothing more is allowed',
    );

    end.multiplexer.fail(GAVE_UP);
    if (!lost) throw new Error('not opened');
    const handler = accept(lost);
    await Promise.resolve();
    t.same(handler.end, { how: 'lost', reason: GAVE_UP });
  });

  t.test(`a stream that nobody accepts hears of nothing, ${name}`, (t) => {
    const end = new Solo(features);
    end.owner.accept = () => {};
    end.receive(...openFrames(4));
    const stream = end.owner.streams[0];
    if (!stream) throw new Error('not opened');
    end.link.taking = 'never';
    end.link.stalled = true;
    const slab = new Slab(100_000, false);
    stream.write(slab, 11, 500, false);
    stream.write(slab, 11, 50_000, false);
    end.link.stalled = false;
    end.receive(windowFrame(4, 100_000));
    t.ok(end.sent.includes('data 4 489'));
    t.equal(stream.bytesSent, 489 + 49_989);
    end.receive(dataFrame(4, Buffer.alloc(0)), shutdownFrame(4), closeFrame(4));
    t.equal(end.multiplexer.streams.size, 0);
    t.end();
  });
}

t.test('consumed: after the end it asks for nothing', (t) => {
  const { end, handler, stream } = solo('plain');
  handler.reads = false;
  end.receive(dataFrame(TOP, Buffer.alloc(60_000)), shutdownFrame(TOP));
  const before = end.sent.length;
  handler.read();
  t.equal(end.sent.length, before, 'no Window for a peer that sends no more');
  end.receive(closeFrame(TOP));
  stream.consumed(0);
  t.equal(end.sent.length, before + 1, 'the Close');
  t.end();
});

t.test('a Window that is due is not sent when the stream is over before the flush', (t) => {
  const { end, handler, stream } = solo('plain');
  handler.onData = (_slab, start, finish) => {
    stream.consumed(finish - start);
    stream.reset(GAVE_UP);
  };
  end.receive(dataFrame(TOP, Buffer.alloc(60_000)));
  t.same(end.sent.slice(2), [`close ${TOP}`]);

  const other = solo('plain');
  other.end.receive(windowFrame(TOP, 10));
  write(other.stream, Buffer.alloc(100));
  other.end.link.taking = 'never';
  other.end.link.stalled = true;
  other.end.receive(windowFrame(TOP, 20), dataFrame(TOP, Buffer.alloc(60_000)), windowFrame(TOP, 1000));
  other.stream.reset(GAVE_UP);
  other.end.link.stalled = false;
  t.match(other.end.sent.slice(-1), [`close ${TOP}`]);
  t.end();
});

t.test('how long payload has waited for a Window is known while it waits and afterwards', (t) => {
  const { end, handler, stream } = solo(withoutEarlyData);
  t.equal(stream.sendStalledMs, 0);
  write(stream, Buffer.alloc(10));
  end.now = 5;
  t.equal(stream.sendStalledMs, 5);
  end.receive(windowFrame(TOP, 4));
  end.now = 8;
  t.equal(stream.sendStalledMs, 8, 'the rest waits on');
  end.receive(windowFrame(TOP, 4));
  end.now = 10;
  t.equal(stream.sendStalledMs, 10, 'the same allowance again allows nothing');
  end.receive(windowFrame(TOP, 100));
  end.now = 20;
  t.equal(stream.sendStalledMs, 10);
  write(stream, Buffer.alloc(200));
  end.now = 25;
  stream.reset(GAVE_UP);
  end.now = 99;
  t.equal(stream.sendStalledMs, 15);
  t.equal(handler.end, undefined);
  t.end();
});

t.test('a peer that has used up its Window is waited for by nobody but the reader here', (t) => {
  const { end, handler, stream } = solo(everything);
  handler.reads = false;
  end.receive(dataFrame(TOP, Buffer.alloc(EARLY_DATA_BYTES - 1)));
  end.now = 5;
  t.equal(stream.receiveStalledMs, 0);
  end.receive(dataFrame(TOP, Buffer.alloc(1)));
  end.now = 12;
  t.equal(stream.receiveStalledMs, 7);
  handler.read();
  t.match(end.sent.at(-1), /^window/);
  end.now = 20;
  t.equal(stream.receiveStalledMs, 7);
  t.end();
});

t.test('nor does it wait after its last byte', (t) => {
  const { end, handler, stream } = solo(everything);
  handler.reads = false;
  end.receive(dataFrame(TOP, Buffer.alloc(EARLY_DATA_BYTES)), shutdownFrame(TOP));
  end.now = 12;
  t.equal(stream.receiveStalledMs, 0);
  t.end();
});
