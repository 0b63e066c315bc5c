import fc from 'fast-check';
import t from 'tap';
import { FrameCutter, type PieceKind } from '../../../host/capture/frame-cutter.js';
import type { Destination } from '../../../protocol/wire/destination.js';
import { encodeOpenResult, encodePing, encodeSource } from '../../../protocol/wire/extension.js';
import { Command, encodeOpen, putDataHeader, putHeader } from '../../../protocol/wire/frame.js';
import { encodeHandshake, encodeHandshakePayload } from '../../../protocol/wire/handshake.js';
import { Bench, finished } from './fixtures/captured.js';

const WEB: Destination = { proto: 'tcp', ip: '127.0.0.1', port: 80 };
const DATABASE: Destination = { proto: 'tcp', ip: '127.0.0.1', port: 5432 };
const SOURCE = { client: { ip: '127.0.0.1', port: 1 }, listener: undefined };

function data(id: number, payload: string): Buffer {
  const frame = Buffer.alloc(11 + payload.length);
  putDataHeader(frame, 0, id, payload.length);
  frame.write(payload, 11);
  return frame;
}

function bare(command: number, id: number): Buffer {
  const frame = Buffer.alloc(7);
  putHeader(frame, 0, 7, command, id);
  return frame;
}

const FRAMES = [
  encodeOpen(3, WEB),
  data(3, 'some payload'),
  bare(Command.shutdown, 3),
  encodePing(5),
  data(3, ''),
  encodeOpenResult(3, { step: 'connected', micros: 1, reason: undefined }),
];

t.test('frames come out whole, however their bytes are cut', (t) => {
  const plain = encodeHandshakePayload(Buffer.alloc(0));
  const whole = Buffer.concat([plain, ...FRAMES]);
  const cuts = fc.array(fc.nat(whole.length), { maxLength: 12 });
  fc.assert(
    fc.property(cuts, (places) => {
      const pieces: [PieceKind, string][] = [];
      const cutter = new FrameCutter((kind, bytes) => pieces.push([kind, bytes.toString('hex')]), 4096);
      let at = 0;
      for (const place of [...places.sort((a, b) => a - b), whole.length]) {
        cutter.push(whole.subarray(at, place));
        at = place;
      }
      const expected = [plain, ...FRAMES].map((bytes, index) => [
        index === 0 ? 'handshake' : 'frame',
        bytes.toString('hex'),
      ]);
      return JSON.stringify(pieces) === JSON.stringify(expected);
    }),
    { seed: 3 },
  );
  t.end();
});

t.test(
  'long frames are cut, a channel may be joined in the middle of one, and nonsense is left alone',
  (t) => {
    const pieces: [number, number][] = [];
    const cutter = new FrameCutter((_kind, bytes, length) => pieces.push([bytes.length, length]), 64);
    cutter.push(encodeHandshake('1', []));
    cutter.push(data(1, 'x'.repeat(500)));
    const begun = bare(Command.close, 1).subarray(0, 5);
    cutter.begin({ begun, left: 0 });
    cutter.push(bare(Command.close, 1).subarray(5));
    cutter.begin({ begun: Buffer.alloc(0), left: 20 });
    cutter.push(Buffer.concat([Buffer.alloc(20, 'y'), bare(Command.close, 1).subarray(0, 4)]));
    cutter.begin();
    cutter.push(encodeHandshakePayload(Buffer.alloc(0)));
    cutter.push(Buffer.alloc(30));
    cutter.push(bare(Command.close, 1));
    t.same(pieces, [
      [64, encodeHandshake('1', []).length],
      [64, 511],
      [7, 7],
      [4, 4],
      [54, 54],
    ]);
    t.end();
  },
);

t.test('captures of frames: all of them, those of one forward, and nothing when nobody looks', async (t) => {
  const bench = new Bench();
  bench.connect().open(9);
  const all = bench.start({ of: undefined, frames: true });
  const { tap } = bench;
  tap?.begun({ begun: Buffer.alloc(0), left: 0 });
  const web = bench.start({ frames: true });
  tap?.sent(
    Buffer.concat([
      encodeSource(4, SOURCE),
      encodeOpen(4, WEB),
      encodeSource(6, SOURCE),
      encodeOpen(6, DATABASE),
    ]),
  );
  tap?.sent(encodeOpen(8, WEB));
  tap?.received(Buffer.concat([data(4, 'a'), data(6, 'b'), data(9, 'c'), encodePing(1)]));
  tap?.begun();
  tap?.sent(encodeHandshakePayload(Buffer.alloc(0)));
  tap?.received(encodeHandshakePayload(Buffer.alloc(0)).subarray(0, 53));
  tap?.begun();
  tap?.sent(encodeHandshakePayload(Buffer.alloc(0)));
  tap?.sent(Buffer.from([7, 0]));
  tap?.begun();
  tap?.sent(encodeHandshakePayload(Buffer.alloc(0)));
  tap?.sent(bare(Command.close, 4));
  const commands = async (capture: typeof all): Promise<number[]> =>
    (await finished(capture)).packets.map(({ bytes }) => (bytes[2] === 0 ? -1 : (bytes[6] as number)));
  const everything = [20, 1, 20, 1, 1, 4, 4, 4, 18, -1, -1, -1];
  t.same(
    await commands(all),
    [...everything, Number.NaN, -1, 2].map((command) => (Number.isNaN(command) ? undefined : command)),
  );
  t.ok(bench.tap, 'one still looks');
  t.same(await commands(web), [20, 1, 1, 4, 4, 18, -1, -1, -1, -1]);
  t.equal(bench.tap, undefined);
  tap?.sent(bare(Command.close, 4));
  tap?.received(bare(Command.close, 4));
  tap?.begun();
});

t.test('a frame says which way it went, and the first that its channel was there before', async (t) => {
  const bench = new Bench();
  const capture = bench.start({ of: undefined, frames: true, snapLength: 64 });
  bench.tap?.begun({ begun: Buffer.alloc(0), left: 0 });
  bench.tap?.sent(data(1, 'x'.repeat(100)));
  bench.tap?.received(bare(Command.close, 1));
  const read = await finished(capture);
  t.match(read, { linkType: 154, name: 'portferry-frames', snapLength: 64 });
  t.same(
    read.packets.map(({ bytes, length }) => [...bytes.subarray(0, 4), bytes.length, length]),
    [
      [1, 0, 1, 0, 64, 115],
      [1, 1, 1, 0, 11, 11],
    ],
  );
  t.same(read.packets[0]?.comments, ['the channel was up before this capture: its handshakes are not in it']);
  bench.start({ frames: true }).finish('another one');
});
