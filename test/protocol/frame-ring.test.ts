import t from 'tap';
import { FRAMES_KEPT, type FrameReport, FrameRing } from '../../protocol/frame-ring.js';
import { Command } from '../../protocol/wire/frame.js';
import { randomFrom } from './fixtures/memory-link.js';
import { connect, GAVE_UP, WEB, write } from './fixtures/recording.js';

t.test('the last frames are known, in their order', async (t) => {
  const ring = new FrameRing();
  t.same(ring.list(), []);
  ring.sent(Command.open, 1, 0);
  t.equal(ring.list().length, 1);
  for (let id = 0; id < FRAMES_KEPT; id++) ring.received(Command.data, id, 10 + id);
  const frames = ring.list();
  t.equal(frames.length, FRAMES_KEPT);
  t.match(frames[0], { direction: 'received', type: 'data', stream: 0, bytes: 10 });
  t.match(frames.at(-1), { stream: FRAMES_KEPT - 1, bytes: 9 + FRAMES_KEPT });
});

t.test('frames of one turn have one time', async (t) => {
  let now = 0;
  const ring = new FrameRing(() => ++now);
  ring.sent(Command.window, 7, 65_536);
  ring.sent(Command.close, 7, 0);
  ring.turn();
  ring.turn();
  ring.sent(Command.ping, 0, 0);
  t.same(ring.list(), [
    { at: '1970-01-01T00:00:00.001Z', direction: 'sent', type: 'window', stream: 7, allowed: 65_536 },
    { at: '1970-01-01T00:00:00.001Z', direction: 'sent', type: 'close', stream: 7 },
    { at: '1970-01-01T00:00:00.002Z', direction: 'sent', type: 'ping', stream: 0 },
  ]);
});

t.test('who wants to is told of frames as they pass; he is asked once a turn', async (t) => {
  const told: FrameReport[] = [];
  let asked = 0;
  let wantsFrames = false;
  const ring = new FrameRing(() => 0, {
    get wantsFrames() {
      asked++;
      return wantsFrames;
    },
    onFrame: (frame) => void told.push(frame),
  });
  ring.sent(Command.open, 1, 0);
  wantsFrames = true;
  ring.sent(Command.data, 1, 5);
  t.same([asked, told], [1, []]);
  ring.turn();
  ring.sent(Command.data, 1, 6);
  ring.received(Command.window, 1, 7);
  wantsFrames = false;
  ring.turn();
  ring.received(Command.close, 1, 0);
  t.equal(asked, 3);
  t.match(told, [
    { direction: 'sent', type: 'data', stream: 1, bytes: 6 },
    { direction: 'received', type: 'window', stream: 1, allowed: 7 },
  ]);
  t.equal(told.length, 2);
  t.equal(ring.list().length, 5, 'all are known afterwards');
});

t.test(
  'a multiplexer notes every frame that it sends and receives, and none of what they carry',
  async (t) => {
    const frames = new FrameRing();
    const { a, b, run } = connect(randomFrom(1), { frames });
    const source = { client: { ip: '127.0.0.1', port: 5555 }, listener: undefined };
    const at = a.open(WEB, source);
    a.multiplexer.ping(1);
    run();
    const [far] = b.owner.streams;
    far?.reportConnected(1);
    if (at.stream) write(at.stream, Buffer.alloc(10));
    run();
    if (far) write(far, Buffer.alloc(100_000));
    run();
    if (at.stream) write(at.stream, Buffer.alloc(20_000));
    at.stream?.shutdown();
    run();
    far?.shutdown();
    a.open().stream?.reset(GAVE_UP);
    a.multiplexer.goAway(GAVE_UP);
    run();
    b.multiplexer.ping(2);
    run();
    const types = (direction: string): Set<string> =>
      new Set(frames.list().flatMap((frame) => (frame.direction === direction ? [frame.type] : [])));
    t.same(
      types('sent'),
      new Set(['source', 'open', 'ping', 'data', 'window', 'shutdown', 'close', 'reset', 'goAway', 'pong']),
    );
    t.same(types('received'), new Set(['pong', 'openResult', 'data', 'window', 'shutdown', 'close', 'ping']));
    const sent = frames.list().filter(({ direction, type }) => direction === 'sent' && type === 'data');
    t.equal(
      sent.reduce((sum, { bytes = 0 }) => sum + bytes, 0),
      20_010,
    );
  },
);
