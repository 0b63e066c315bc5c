import { setImmediate as immediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { freeStreamId, MAX_STREAMS, Multiplexer } from '../../protocol/multiplexer.js';
import { MAX_QUEUED_CONTROL_BYTES } from '../../protocol/outbox.js';
import { Slab } from '../../protocol/slab.js';
import { INITIAL_WINDOW_BYTES, MAX_WINDOW_BYTES, WINDOW_BUDGET_BYTES } from '../../protocol/window.js';
import {
  decodeOpenResult,
  EARLY_DATA_BYTES,
  encodeGoAway,
  encodeOpenResult,
  encodePing,
  encodeReset,
  encodeSource,
  type OpenResult,
} from '../../protocol/wire/extension.js';
import { Command, encodeOpen } from '../../protocol/wire/frame.js';
import { encodeHandshake, encodeHandshakePayload, FEATURES } from '../../protocol/wire/handshake.js';
import {
  anyFrame,
  closeFrame,
  dataFrame,
  dataHeader,
  shutdownFrame,
  windowFrame,
} from './fixtures/frames.js';
import { MemoryLink, randomFrom, run } from './fixtures/memory-link.js';
import {
  accept,
  connect,
  type End,
  everything,
  framesOf,
  GAVE_UP,
  type Pair,
  pump,
  RecordingHandler,
  RecordingOwner,
  Solo,
  WEB,
  withoutEarlyData,
  write,
} from './fixtures/recording.js';

const TOP = 0xffff_ffff;
const STOPPING = { code: 'STOPPING', message: 'the host stops' };
const CLIENT = { ip: '192.168.0.7', port: 50123 };
const LISTENER = { ip: '0.0.0.0', port: 8080 };

/** Nothing of any stream is left at an end whose streams are all over. */
function isClean(t: Test, { multiplexer, link }: End): void {
  t.equal(multiplexer.streams.size, 0, 'no streams');
  t.equal(multiplexer.budget.free, WINDOW_BUDGET_BYTES, 'all of the budget');
  t.equal(link.pool.out, link.state === 'gone' ? 0 : 1, 'no slab but the one that is read into');
}

/** OpenResult frames among what was sent. */
function results(sent: string[]): OpenResult[] {
  return sent
    .filter((line) => line.startsWith(`extension ${Command.openResult} `))
    .map((line) => decodeOpenResult(Buffer.from(line.split(' ')[3] ?? '', 'hex')));
}

t.test('handshake: both ends send it at once, and then know each other', (t) => {
  const [linkA] = MemoryLink.pair(randomFrom(1));
  const owner = new RecordingOwner();
  const sent: Buffer[] = [];
  linkA.send = (bytes) => sent.push(Buffer.from(bytes)) > 0;
  new Multiplexer({ link: linkA, owner, pool: linkA.pool, dialled: true, version: '7' });
  t.same(Buffer.concat(sent), encodeHandshake('7', FEATURES));
  t.equal(owner.peer, undefined);

  const { a, b } = connect(randomFrom(2), {}, { version: '8', features: ['ping'] });
  t.equal(a.owner.peer?.version, '8');
  t.same([...(a.multiplexer.peer?.features ?? [])], ['ping']);
  t.equal(b.owner.peer?.version, '1.2.3');
  t.equal(b.owner.peer?.features.size, FEATURES.length);
  t.end();
});

t.test('handshake: frames may follow in the same read', (t) => {
  const [link] = MemoryLink.pair(randomFrom(1));
  const owner = new RecordingOwner();
  const multiplexer = new Multiplexer({
    link,
    owner,
    pool: link.pool,
    dialled: false,
    version: '1',
    defer: link.defer,
  });
  link.attach(multiplexer);
  link.receive(Buffer.concat([encodeHandshakePayload(Buffer.alloc(0)), encodeOpen(5, WEB)]));
  t.equal(owner.streams[0]?.id, 5);
  t.same(owner.streams[0]?.destination, WEB);
  t.end();
});

t.test('handshake: what is no multiplexer ends the channel', (t) => {
  const { a } = connect(randomFrom(1));
  const [link] = MemoryLink.pair(randomFrom(1));
  const owner = new RecordingOwner();
  const multiplexer = new Multiplexer({ link, owner, pool: link.pool, dialled: true, version: '1' });
  link.attach(multiplexer);
  t.equal(multiplexer.takesStreams, false);
  t.throws(() => multiplexer.open(WEB, new RecordingHandler()), {
    name: 'OperationError',
    message: 'the channel takes no new streams',
  });
  link.receive(Buffer.from('HTTP/1.1 400 Bad Request\r\n'));
  t.match(owner.ends, [{ code: 'NOT_A_MULTIPLEXER', message: /began with "HTTP\/1.1 400/ }]);
  t.equal(link.state, 'closing');
  t.equal(a.multiplexer.takesStreams, true);
  t.end();
});

t.test('ids: down from 2^32-1 for the end that dialled, up from 0 for the other', (t) => {
  const { a, b, run } = connect(randomFrom(3));
  t.same(
    [a.open(), a.open(), b.open(), b.open()].map(({ stream }) => stream?.id),
    [TOP, TOP - 1, 0, 1],
  );
  run();
  t.same([...a.multiplexer.streams.keys()].sort(), [...b.multiplexer.streams.keys()].sort());
  t.end();
});

t.test('ids: those in use are skipped, whoever has opened them, and they wrap', (t) => {
  const solo = new Solo('plain');
  solo.receive(encodeOpen(TOP, WEB), encodeOpen(TOP - 2, WEB));
  t.same(
    [solo.open(), solo.open()].map(({ stream }) => stream?.id),
    [TOP - 1, TOP - 3],
  );
  t.equal(freeStreamId(0, -1, new Set([0, TOP])), TOP - 1);
  t.equal(freeStreamId(TOP - 1, 1, new Set([TOP - 1, TOP, 0])), 1);
  t.equal(freeStreamId(7, 1, new Set()), 7);
  t.end();
});

t.test(
  'ids: an id is free when Close has been both sent and received, and used again only when its turn comes',
  (t) => {
    const { a, b, run } = connect(randomFrom(4));
    a.open().stream?.reset(GAVE_UP);
    t.equal(a.multiplexer.streams.size, 1, 'the Close of the other end is still to come');
    run();
    t.equal(a.multiplexer.streams.size, 0);
    t.equal(a.open().stream?.id, TOP - 1);
    isClean(t, b);
    t.end();
  },
);

t.test('open: Open, then the window; the stream is made only of what can be sent', (t) => {
  const solo = new Solo('plain');
  solo.open();
  t.same(solo.sent, [`open ${TOP} tcp 127.0.0.1:80`, `window ${TOP} ${INITIAL_WINDOW_BYTES}`]);
  t.throws(() => solo.open({ proto: 'unix', path: 'x'.repeat(5000) }), RangeError);
  t.throws(() => solo.open({ proto: 'tcp', ip: 'localhost', port: 1 }));
  t.equal(solo.multiplexer.streams.size, 1);
  const talkative = new Solo(everything);
  t.throws(() => talkative.open(WEB, { client: { ip: 'me', port: 1 }, listener: undefined }));
  isClean(t, talkative);
  talkative.open();
  t.same(talkative.sent, [`open ${TOP - 1} tcp 127.0.0.1:80`], 'with early data there is no first window');
  t.end();
});

t.test('source: told before Open, to a peer that knows it', (t) => {
  const { a, b, run } = connect(randomFrom(5));
  a.open(WEB, { client: CLIENT, listener: LISTENER });
  a.open();
  run();
  t.same(b.owner.sources, [{ client: CLIENT, listener: LISTENER }, undefined]);

  const solo = new Solo(everything);
  solo.receive(
    encodeSource(4, { client: CLIENT, listener: LISTENER }),
    encodeOpen(6, WEB),
    encodeOpen(4, WEB),
  );
  t.same(solo.owner.sources, [undefined, undefined], 'it counts for the next Open only');
  t.end();
});

t.test('ping: answered, also with what is no number here', (t) => {
  const { a, b, run } = connect(randomFrom(6));
  t.equal(a.multiplexer.ping(41), true);
  t.equal(b.multiplexer.ping(2 ** 53 - 1), true);
  run();
  t.same(a.owner.pongs, [41]);
  t.same(b.owner.pongs, [2 ** 53 - 1]);

  const solo = new Solo(everything);
  const ping = encodePing(0).fill(0xff, 7);
  solo.receive(ping);
  t.same(solo.sent, [`extension ${Command.pong} 0 ffffffffffffffff`]);
  t.equal(new Solo('plain').multiplexer.ping(1), false);
  t.end();
});

t.test('goaway: no new streams in either direction, those that exist go on', (t) => {
  const { a, b, run } = connect(randomFrom(7));
  const opened = a.open();
  run();
  const atB = b.owner.handlers[0];
  a.multiplexer.goAway(STOPPING);
  t.equal(a.multiplexer.takesStreams, false);
  const late = b.open();
  run();
  t.same(b.owner.goAways, [STOPPING]);
  t.throws(() => b.open(), { message: 'the channel takes no new streams: the host stops' });
  t.throws(() => a.open(), { message: 'the channel takes no new streams' });
  t.match(late.end, { how: 'refused', result: { step: 'policy', reason: { code: 'ESHUTDOWN' } } });
  t.equal(a.owner.streams.length, 0);

  for (const handler of [opened, atB]) if (handler?.stream) write(handler.stream, Buffer.from('still'));
  run();
  for (const handler of [opened, atB]) handler?.stream?.shutdown();
  run();
  t.equal(opened.data.toString(), 'still');
  t.same(opened.end, { how: 'closed' });
  t.equal(a.owner.idles, 1);
  isClean(t, a);
  isClean(t, b);
  t.end();
});

t.test('limit: local opens throw, those of the peer are refused and nothing of them is kept', (t) => {
  const solo = new Solo(everything, { maxStreams: 2 });
  solo.open();
  solo.open();
  t.throws(() => solo.open(), { name: 'OperationError', message: 'carries 2 streams' });
  for (let id = 0; id < 1000; id++) solo.receive(encodeOpen(id, WEB));
  t.equal(solo.multiplexer.streams.size, 2);
  t.equal(solo.owner.streams.length, 0);
  const refusals = results(solo.sent);
  t.equal(refusals.length, 1000);
  t.match(refusals[0], { step: 'policy', reason: { code: 'EAGAIN', message: /limit of 2 streams/ } });
  t.equal(solo.sent.filter((line) => line.startsWith('close ')).length, 1000);

  const full = new Solo(everything);
  for (let id = 0; id < MAX_STREAMS + 10; id++) full.receive(encodeOpen(id, WEB));
  t.equal(full.multiplexer.streams.size, MAX_STREAMS);
  t.equal(results(full.sent).length, 10);

  const plain = new Solo('plain', { maxStreams: 0 });
  plain.receive(encodeOpen(3, WEB), closeFrame(3));
  t.same(plain.sent, ['close 3']);
  t.equal(plain.ended, undefined);
  t.end();
});

t.test('what breaks the protocol ends the channel with its code, and every stream with it', (t) => {
  const dedicated = encodeOpen(1, WEB);
  dedicated.writeUInt8(1, 7);
  const destination = encodeOpen(1, WEB);
  destination.writeUInt8(9, 8);
  const violations: [string, Buffer][] = [
    ['STREAM_ID_IN_USE', encodeOpen(TOP, WEB)],
    ['DEDICATED_STREAM', dedicated],
    ['BAD_DESTINATION', destination],
    ['UNKNOWN_COMMAND', anyFrame(6, 1)],
    ['FRAME_LENGTH', anyFrame(Command.close, 1, 8)],
    ['PAYLOAD_TOO_LARGE', dataHeader(1, MAX_WINDOW_BYTES + 1)],
    ['BAD_EXTENSION', anyFrame(Command.goAway, 0)],
    ['BAD_EXTENSION', anyFrame(Command.ping, 0)],
    ['BAD_EXTENSION', anyFrame(Command.pong, 0)],
    ['BAD_EXTENSION', anyFrame(Command.reset, TOP)],
    ['BAD_EXTENSION', anyFrame(Command.openResult, TOP)],
    ['BAD_EXTENSION', anyFrame(Command.source, 1)],
  ];
  for (const [code, frame] of violations) {
    const solo = new Solo(everything);
    const handler = solo.open();
    solo.receive(frame, encodeOpen(77, WEB));
    t.equal(solo.ended, code);
    t.same(solo.owner.causes, [], 'what a peer did has no stack');
    t.match(handler.end, { how: 'lost', reason: { code } });
    t.equal(solo.owner.streams.length, 0, 'nothing after it is looked at');
    solo.receive(encodeOpen(78, WEB));
    t.equal(solo.owner.streams.length, 0);
    t.ok(solo.sent);
    isClean(t, solo);
  }
  t.end();
});

t.test('a failure of our own ends the channel, not the process, and the owner gets the error', async (t) => {
  const bug = new TypeError('a bug');
  const fail = (): never => {
    throw bug;
  };
  const failures: [string, (solo: Solo) => void][] = [
    ['in onStream', ({ owner }) => (owner.accept = fail)],
    [
      'in a handler that hears late of what came early',
      ({ owner }) => {
        owner.accept = (stream) => queueMicrotask(() => (accept(stream).onData = fail));
      },
    ],
    ['in a handler', ({ owner }) => (owner.accept = (stream) => (accept(stream).onData = fail))],
  ];
  for (const [where, arrange] of failures) {
    const solo = new Solo(everything);
    arrange(solo);
    solo.receive(encodeOpen(1, WEB), dataFrame(1, Buffer.from('x')));
    await immediate();
    t.same(solo.owner.ends, [{ code: 'INTERNAL', message: 'a bug' }], where);
    t.equal(solo.owner.causes[0], bug);
    t.equal(solo.link.state, 'closing');
    isClean(t, solo);
  }
});

t.test('late frames are skipped and counted', (t) => {
  const solo = new Solo(everything);
  const handler = solo.open();
  handler.stream?.reset(GAVE_UP);
  solo.receive(
    dataFrame(TOP, Buffer.alloc(1000)),
    windowFrame(TOP, 5),
    shutdownFrame(TOP),
    encodeOpenResult(TOP, { step: 'connected', micros: 1, reason: undefined }),
    closeFrame(TOP),
  );
  t.same(solo.multiplexer.skipped, { data: 1, dataBytes: 1000, control: 0, unknown: 0 });
  isClean(t, solo);
  solo.receive(
    dataFrame(TOP, Buffer.alloc(2000)),
    dataFrame(TOP, Buffer.alloc(0)),
    windowFrame(TOP, 5),
    shutdownFrame(TOP),
    closeFrame(TOP),
    encodeReset(TOP, GAVE_UP),
    encodeOpenResult(TOP, { step: 'connected', micros: 1, reason: undefined }),
    anyFrame(99, 5, 500),
    encodeOpen(3, WEB),
  );
  t.same(solo.multiplexer.skipped, { data: 3, dataBytes: 3000, control: 5, unknown: 1, lastUnknown: 99 });
  t.equal(solo.owner.streams.length, 1, 'and what comes after them is understood');
  t.same(handler.events, []);
  t.equal(solo.ended, undefined);
  t.end();
});

t.test('extensions that were not agreed on are skipped and counted', (t) => {
  const reason = { code: 'E', message: '' };
  const frames = [
    encodeOpenResult(TOP, { step: 'dial', micros: 1, reason }),
    encodeReset(TOP, reason),
    encodePing(1),
    anyFrame(Command.pong, 0, 15),
    encodeSource(1, { client: undefined, listener: undefined }),
    encodeGoAway(reason),
  ];
  for (const solo of [new Solo('plain'), new Solo([]), new Solo(everything, { features: [] })]) {
    const handler = solo.open();
    solo.receive(...frames);
    t.equal(solo.multiplexer.skipped.unknown, frames.length);
    t.same(handler.events, []);
    t.same([solo.owner.goAways, solo.owner.pongs], [[], []]);
    t.equal(solo.multiplexer.takesStreams, true);
  }
  t.end();
});

t.test('a plain peer never gets a byte of an extension', (t) => {
  const plains: [Partial<Parameters<typeof connect>[1]>, Partial<Parameters<typeof connect>[2]>][] = [
    [{}, { features: [] }],
    [{ features: [] }, {}],
  ];
  for (const [optionsA, optionsB] of plains) {
    const pair = connect(randomFrom(8), { ...optionsA, maxStreams: 5 }, { ...optionsB, maxStreams: 5 });
    const { a, b, run } = pair;
    useEverything(pair);
    run();
    for (const { link, multiplexer } of [a, b]) {
      const sent = framesOf(Buffer.concat(link.delivered));
      t.ok(sent.length > 10);
      t.same(
        sent.filter((line) => /^(extension|unknown)/.test(line)),
        [],
      );
      t.same(multiplexer.skipped.unknown, 0);
    }
  }
  t.end();
});

/** Does everything that sends an extension frame to a peer that knows them. */
function useEverything({ a, b, run }: Pair): void {
  const source = { client: CLIENT, listener: LISTENER };
  b.owner.accept = (stream) => {
    if (b.owner.streams.length % 2 === 0) stream.refuse('dial', GAVE_UP);
    else {
      stream.reportConnected(5);
      b.owner.handlers.push(accept(stream));
    }
  };
  const handlers = [a.open(WEB, source), a.open(WEB, source), a.open(WEB, source)];
  a.multiplexer.ping(1);
  run();
  for (const { stream } of handlers) if (stream) write(stream, Buffer.from('x'));
  run();
  for (const { stream } of b.owner.handlers) stream?.reset(GAVE_UP);
  b.multiplexer.ping(1);
  run();
  for (let count = 0; count < 6; count++) if (a.multiplexer.takesStreams && count < 5) a.open(WEB, source);
  a.multiplexer.goAway(STOPPING);
  b.open(WEB, source);
  run();
}

t.test('the same with all features on does send them', (t) => {
  const pair = connect(randomFrom(8));
  useEverything(pair);
  const sent = framesOf(Buffer.concat([...pair.a.link.delivered]));
  const answered = framesOf(Buffer.concat([...pair.b.link.delivered]));
  const commands = new Set(
    [...sent, ...answered].filter((line) => line.startsWith('extension')).map((line) => line.split(' ')[1]),
  );
  t.same([...commands].sort(), ['16', '17', '18', '19', '20', '21']);
  t.end();
});

t.test('goaway: said again and again, the owner hears of it once', (t) => {
  const solo = new Solo(everything);
  const flood = Buffer.concat(Array.from({ length: 1000 }, () => encodeGoAway(STOPPING)));
  for (let round = 0; round < 10; round++) solo.receive(flood);
  t.same(solo.owner.goAways, [STOPPING]);
  t.equal(solo.multiplexer.skipped.control, 9_999);
  t.throws(() => solo.open(), { message: 'the channel takes no new streams: the host stops' });
  t.equal(solo.ended, undefined);
  t.end();
});

t.test('what a peer may repeat leaves nothing but counts', (t) => {
  const failed: OpenResult = { step: 'dial', micros: 1, reason: { code: 'E', message: 'x'.repeat(512) } };
  const repeated: [string, Buffer][] = [
    ['Ping', encodePing(7)],
    ['Pong', anyFrame(Command.pong, 0, 15)],
    ['Source', encodeSource(1, { client: CLIENT, listener: LISTENER })],
    ['OpenResult', encodeOpenResult(TOP, failed)],
    ['Window', windowFrame(TOP, EARLY_DATA_BYTES)],
    ['empty Data', dataFrame(TOP, Buffer.alloc(0))],
    ['Close of nobody', closeFrame(5)],
    ['Reset of nobody', encodeReset(5, GAVE_UP)],
    ['an unknown command', anyFrame(200, 0, 100)],
    ['Open that is refused', encodeOpen(9, WEB)],
  ];
  for (const [name, frame] of repeated) {
    const solo = new Solo(everything, { maxStreams: 1 });
    const handler = solo.open();
    const state = (): string =>
      solo.multiplexer.describe().replace(/\d+/g, '#').replace(',"lastUnknown":#', '');
    const before = state();
    const flood = Buffer.concat(Array.from({ length: 500 }, () => frame));
    for (let round = 0; round < 20; round++) {
      solo.receive(flood);
      // The peer reads.
      run(() => 0, [solo.link]);
      solo.link.delivered = [];
    }
    t.equal(state(), before, name);
    t.equal(solo.ended, undefined, name);
    t.same(handler.events, [], name);
    t.equal(solo.owner.streams.length, 0, name);
  }
  t.end();
});

t.test('a peer that does not read: memory is bounded, and the channel given up', (t) => {
  const solo = new Solo(everything);
  solo.link.taking = 'never';
  solo.link.stalled = true;
  solo.multiplexer.ping(0);
  const pings = Buffer.alloc(15 * 10_000, encodePing(1));
  let received = 0;
  while (solo.ended === undefined && received < 3 * MAX_QUEUED_CONTROL_BYTES) {
    solo.receive(pings);
    received += pings.length;
  }
  t.equal(solo.ended, 'PEER_DOES_NOT_READ');
  t.ok(received <= MAX_QUEUED_CONTROL_BYTES + 4 * pings.length, `after ${received} bytes`);
  isClean(t, solo);
  t.end();
});

t.test('close: what was sent goes out, though the link may be blocked, and then the link ends', (t) => {
  const cases = (['always', 'never', 'sometimes'] as const).flatMap((taking) => [
    { taking, features: everything, length: EARLY_DATA_BYTES - 1 },
    // Too long to be copied: it goes out from where it lies.
    { taking, features: withoutEarlyData, length: 50_000 },
  ]);
  for (const { taking, features, length } of cases) {
    const { a, b, run } = connect(randomFrom(9), { features });
    a.link.taking = taking;
    const handler = a.open();
    run();
    const stream = handler.stream;
    if (!stream) throw new Error('not opened');
    write(stream, Buffer.alloc(length, 'x'));
    write(stream, Buffer.from('y'));
    stream.shutdown();
    b.owner.handlers[0]?.stream?.shutdown();
    run(1);
    a.multiplexer.close(STOPPING);
    a.multiplexer.close(GAVE_UP);
    a.multiplexer.fail(GAVE_UP);
    t.same(a.owner.ends, [STOPPING]);
    t.match(handler.end, { how: 'lost', reason: STOPPING });
    run();
    t.equal(b.owner.handlers[0]?.data.toString(), `${'x'.repeat(length)}y`);
    t.ok(b.owner.handlers[0]?.events.includes('shutdown'));
    t.equal(b.owner.ends.length, 1);
    isClean(t, a);
    isClean(t, b);
  }
  t.end();
});

t.test('close: memory that the link still sends from is not lent again', (t) => {
  const { a, run } = connect(randomFrom(10));
  a.link.taking = 'never';
  const { stream } = a.open();
  run();
  a.link.stalled = true;
  const slab = a.link.pool.acquire();
  stream?.write(slab, 11, 30_000, false);
  a.link.pool.release(slab);
  t.equal(a.link.pool.out, 2);
  a.multiplexer.close(STOPPING);
  t.equal(a.link.pool.out, 2, 'still on its way');
  a.link.stalled = false;
  run();
  t.equal(a.link.pool.out, 0);
  isClean(t, a);
  t.end();
});

t.test('a turn in which the link takes no more than a control frame is not the last one', (t) => {
  const { a, b, run } = connect(randomFrom(12));
  const from = a.open();
  run();
  const to = b.owner.handlers[0] as RecordingHandler;
  to.reads = false;
  const sent = 3 * INITIAL_WINDOW_BYTES;
  pump(from, Buffer.alloc(sent), sent);
  run();
  // The heartbeat asks when it learns that the channel is used; the link takes that, and is full.
  a.link.taking = 'never';
  a.multiplexer.onceUsed(() => a.multiplexer.ping(1));
  to.read();
  run();
  t.equal(to.data.length, sent);
  t.end();
});

t.test('fail: the link ends at once, and so does everything else', (t) => {
  const { a, b, run } = connect(randomFrom(11), { features: withoutEarlyData });
  a.link.taking = 'never';
  const handler = a.open();
  run();
  a.link.stalled = true;
  const slab = a.link.pool.acquire();
  handler.stream?.write(slab, 11, 30_000, false);
  handler.stream?.write(slab, 11, 30_000, false);
  a.link.pool.release(slab);
  a.multiplexer.fail(GAVE_UP);
  a.multiplexer.fail(STOPPING);
  t.same(a.owner.ends, [GAVE_UP]);
  t.match(handler.end, { how: 'lost', reason: GAVE_UP });
  t.equal(a.link.pool.out, 1);
  t.equal(a.multiplexer.takesStreams, false);
  t.throws(() => a.open(), { name: 'OperationError' });
  a.link.stalled = false;
  run();
  t.equal(b.owner.ends.length, 1);
  isClean(t, a);
  isClean(t, b);
  a.multiplexer.ended(STOPPING);
  a.multiplexer.drained();
  a.multiplexer.receive(new Slab(10, false), 0, 10);
  t.equal(a.owner.ends.length, 1);
  t.end();
});

t.test('the end may come from any of the callbacks: nothing is handed on after it', (t) => {
  const callbacks = ['onStream', 'onGoAway', 'onPong', 'onIdle', 'onReady'] as const;
  for (const name of callbacks) {
    const solo = new Solo(everything);
    const owner = solo.owner;
    const calls: string[] = [];
    for (const each of callbacks)
      owner[each] = () => {
        calls.push(each);
        if (each === name) solo.multiplexer.fail(GAVE_UP);
      };
    const handler = solo.open();
    handler.stream?.reset(GAVE_UP);
    const rest = [closeFrame(TOP), encodeOpen(1, WEB), encodeGoAway(GAVE_UP), anyFrame(Command.pong, 0, 15)];
    solo.receive(...rest, ...rest.slice(2));
    t.equal(calls.at(-1), name === 'onReady' ? 'onPong' : name);
    if (name !== 'onReady') t.equal(calls.filter((call) => call === name).length, 1);
    t.equal(solo.multiplexer.streams.size, name === 'onReady' ? 1 : 0);
  }
  t.end();
});

t.test('the end may come when the peer is known: what it has sent already is not looked at', (t) => {
  const [link] = MemoryLink.pair(randomFrom(1));
  const owner = new RecordingOwner();
  const multiplexer = new Multiplexer({ link, owner, pool: link.pool, dialled: false, version: '1' });
  link.attach(multiplexer);
  owner.ready = () => multiplexer.fail(GAVE_UP);
  link.receive(Buffer.concat([encodeHandshakePayload(Buffer.alloc(0)), encodeOpen(5, WEB)]));
  t.same(owner.streams, []);
  t.equal(multiplexer.streams.size, 0);
  t.end();
});

t.test('the end of one stream may make another write: nothing of it is kept', (t) => {
  const { a, b, run } = connect(randomFrom(12));
  const handlers = [a.open(), a.open(), a.open()];
  run();
  for (const handler of handlers)
    handler.onClosed = () => {
      for (const { stream } of handlers) {
        if (stream) write(stream, Buffer.alloc(30_000));
        if (stream) write(stream, Buffer.alloc(10));
        stream?.consumed(0);
        stream?.shutdown();
      }
    };
  a.link.cut();
  run();
  isClean(t, a);
  isClean(t, b);
  t.end();
});

t.test('a link that is cut: every stream of both ends is lost, and everything released', (t) => {
  for (let seed = 0; seed < 40; seed++) {
    const { a, b, run } = connect(randomFrom(seed));
    const opened = Array.from({ length: 5 }, () => a.open());
    run();
    for (const handler of [...opened, ...b.owner.handlers]) {
      handler.reads = seed % 2 === 0;
      pump(handler, Buffer.alloc(500_000, 'x'), 100_000, () => handler.stream?.shutdown());
    }
    run(seed);
    a.link.cut();
    run();
    for (const end of [a, b]) {
      isClean(t, end);
      t.equal(end.owner.ends.length, 1);
    }
    for (const handler of [...opened, ...b.owner.handlers]) t.match(handler.end, { how: 'lost' });
  }
  t.end();
});

for (const taking of ['never', 'always'] as const)
  t.test(
    `fairness: nobody gets a second quantum before others got one; the link, once free, takes ${taking}`,
    (t) => {
      const solo = new Solo('plain');
      const handlers = Array.from({ length: 4 }, () => solo.open());
      for (const { stream } of handlers) solo.receive(windowFrame(stream?.id ?? 0, 2 ** 40));
      const before = solo.sent.length;
      solo.link.taking = 'never';
      solo.link.stalled = true;
      // The source of each stream goes on at once when it may, as a socket with much to say does.
      for (const handler of handlers) pump(handler, Buffer.alloc(40 * 20_000), 20_000);
      solo.link.taking = taking;
      solo.link.stalled = false;
      const order = solo.sent
        .slice(before)
        .filter((line) => line.startsWith('data'))
        .map((line) => line.split(' ')[1]);
      t.equal(order.length, 4 * 40);
      // The first one found the link free. From then on all wait, until each has one left or none.
      for (let round = 0; round < 39; round++) {
        const turns = new Set(order.slice(1 + 4 * round, 5 + 4 * round));
        if (turns.size !== 4) t.fail(`round ${round}: ${[...turns]}`);
      }
      t.end();
    },
  );

for (const [name, features, window] of [
  ['with early data', everything, []],
  ['without', withoutEarlyData, [`window ${TOP - 2}`]],
] as const)
  t.test(`control frames go before payload that waits, ${name}`, (t) => {
    const solo = new Solo(features);
    const [bulk, idle] = [solo.open(), solo.open()];
    for (const { stream } of [bulk, idle]) solo.receive(windowFrame(stream?.id ?? 0, 2 ** 40));
    const before = solo.sent.length;
    solo.link.taking = 'never';
    solo.link.stalled = true;
    pump(bulk, Buffer.alloc(3 * 100_000), 100_000);
    solo.receive(encodePing(1));
    idle.stream?.shutdown();
    solo.open();
    solo.link.stalled = false;
    t.same(
      solo.sent.slice(before).map((line) => line.split(' ').slice(0, 2).join(' ')),
      [
        `data ${TOP}`,
        'extension 19',
        `shutdown ${TOP - 1}`,
        `open ${TOP - 2}`,
        ...window,
        `data ${TOP}`,
        `data ${TOP}`,
      ],
    );
    t.end();
  });

for (const [name, features, windowBytes] of [
  ['with early data', FEATURES, 0],
  ['without', withoutEarlyData, 15],
] as const)
  t.test(`by itself it flushes at the end of the turn of the event loop, ${name}`, async (t) => {
    const [link] = MemoryLink.pair(randomFrom(1));
    link.taking = 'always';
    const owner = new RecordingOwner();
    const multiplexer = new Multiplexer({ link, owner, pool: link.pool, dialled: true, version: '1' });
    link.attach(multiplexer);
    link.receive(encodeHandshake('2', features));
    const queued = link.queued;
    multiplexer.open(WEB, new RecordingHandler());
    t.equal(link.queued, queued);
    await immediate();
    t.equal(link.queued, queued + 8 + 9 + windowBytes);
  });

for (const [name, features, first] of [
  ['with early data', everything, EARLY_DATA_BYTES],
  ['without', withoutEarlyData, INITIAL_WINDOW_BYTES],
] as const)
  t.test(`describe: a line for each stream, ${name}`, (t) => {
    const { a, b, run } = connect(randomFrom(13), { features });
    const handler = a.open();
    a.open();
    run();
    const atB = b.owner.handlers[0];
    if (!handler.stream || !atB?.stream) throw new Error('not opened');
    atB.reads = false;
    write(handler.stream, Buffer.alloc(first + 5));
    handler.stream.shutdown();
    run();
    const describe = ({ multiplexer }: End): string => multiplexer.describe();
    t.match(describe(a), /^2 streams, 0 waiting for the link\nskipped frames: \{"data":0,/);
    t.match(describe(a), `stream ${TOP} sent=${first}/${first} received=0/${first} unread=0 pending=5\n`);
    t.match(describe(b), `stream ${TOP} sent=0/${first} received=${first}/${first} unread=${first} \n`);
    atB.read();
    run();
    t.match(describe(a), 'shutdown-sent');
    t.match(describe(b), 'shutdown-received');
    handler.stream.reset(GAVE_UP);
    t.match(describe(a), 'close-sent');
    t.end();
  });

t.test('a reader that keeps slabs keeps them from being read into', (t) => {
  const { a, b, run } = connect(randomFrom(14));
  const kept: [Slab, number, number][] = [];
  b.owner.accept = (stream) => {
    const handler = accept(stream);
    handler.onData = (slab, start, end) => {
      slab.holds++;
      kept.push([slab, start, end]);
      stream.consumed(end - start);
    };
  };
  const sent = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7919) >>> 5));
  pump(a.open(), sent, 70_000);
  run();
  const received = Buffer.concat(kept.map(([slab, start, end]) => slab.bytes.subarray(start, end)));
  t.ok(received.equals(sent));
  for (const [slab] of kept) b.link.pool.release(slab);
  t.equal(b.link.pool.out, 1);
  t.end();
});
