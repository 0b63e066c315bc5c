import fc from 'fast-check';
import t from 'tap';
import { ProtocolError } from '../../../protocol/errors.js';
import { FrameDecoder } from '../../../protocol/wire/decoder.js';
import { encodePing, encodeReset } from '../../../protocol/wire/extension.js';
import { encodeOpen, putDataHeader, putHeader, putWindow } from '../../../protocol/wire/frame.js';
import { Transcript } from '../fixtures/recording.js';

function frame(total: number, command: number, id: number, bytes = total): Buffer {
  const into = Buffer.alloc(Math.max(bytes, 7));
  putHeader(into, 0, total, command, id);
  return into;
}

function data(id: number, payload: string): Buffer {
  const into = Buffer.alloc(11 + payload.length, payload);
  putDataHeader(into, 0, id, payload.length);
  into.write(payload, 11);
  return into;
}

function windowFrame(id: number, allowed: number): Buffer {
  const into = Buffer.alloc(15);
  putWindow(into, 0, id, allowed);
  return into;
}

/** Frames of every kind, each with what the decoder is to make of it. */
const FRAMES: [Buffer, string][] = [
  [encodeOpen(1, { proto: 'tcp', ip: '10.0.0.1', port: 80 }), 'open 1 tcp 10.0.0.1:80'],
  [windowFrame(1, 2 ** 40), `window 1 ${2 ** 40}`],
  [data(1, 'hello'), 'data 1 5'],
  [data(1, ''), 'data 1 0'],
  [encodePing(9), 'extension 18 0 0900000000000000'],
  [frame(12, 22, 0), 'unknown 22'],
  [frame(7, 255, 0), 'unknown 255'],
  [encodeReset(2, { code: 'E', message: 'm' }), 'extension 17 2 014501006d'],
  [encodeOpen(4, { proto: 'unix', path: 'portferry:control' }), 'open 4 unix portferry:control'],
  [data(4, 'world, and more than a header'), 'data 4 29'],
  [frame(7, 3, 1), 'shutdown 1'],
  [frame(7, 2, 1), 'close 1'],
];
const INPUT = Buffer.concat(FRAMES.map(([bytes]) => bytes));
const LINES = FRAMES.map(([, line]) => line);
const PAYLOAD = 'helloworld, and more than a header';

/** Pushes `input` in pieces that end at `cuts`, each piece in memory of its own that is overwritten after it. */
function decodePieces(input: Buffer, cuts: readonly number[]): Transcript {
  const transcript = new Transcript();
  const decoder = new FrameDecoder(transcript);
  let at = 0;
  for (const end of [...cuts, input.length]) {
    const chunk = Buffer.concat([Buffer.from('##'), input.subarray(at, end), Buffer.from('##')]);
    decoder.push({ bytes: chunk }, 2, chunk.length - 2);
    chunk.fill(0xdb);
    at = end;
  }
  return transcript;
}

t.test('every division into two, and byte by byte', (t) => {
  for (let cut = 0; cut <= INPUT.length; cut++) {
    const { lines, payload } = decodePieces(INPUT, [cut]);
    t.same(lines, LINES, `cut at ${cut}`);
    t.equal(Buffer.concat(payload).toString(), PAYLOAD);
  }
  const { lines, payload } = decodePieces(INPUT, [...INPUT.keys()]);
  t.same(lines, LINES);
  t.equal(Buffer.concat(payload).toString(), PAYLOAD);
  t.equal(payload.length, PAYLOAD.length, 'one piece for each byte');
  t.end();
});

t.test('random divisions', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(INPUT.length)), (cuts) => {
      const { lines, payload } = decodePieces(
        INPUT,
        cuts.sort((x, y) => x - y),
      );
      t.same(lines, LINES);
      t.equal(Buffer.concat(payload).toString(), PAYLOAD);
    }),
  );
  t.end();
});

t.test('truncated at every byte: the frames before it, and no other', (t) => {
  for (let length = 0; length <= INPUT.length; length++) {
    const { lines, payload } = decodePieces(INPUT.subarray(0, length), []);
    t.same(lines, LINES.slice(0, lines.length));
    const whole = FRAMES.filter((_, index) => startOf(index + 1) <= length).length;
    // A Data frame is announced by its header, a frame that is to be skipped likewise.
    t.ok(lines.length === whole || lines.length === whole + 1);
    if (lines.length > whole) t.match(lines.at(-1), /^(data|unknown)/);
    t.equal(Buffer.concat(payload).toString(), PAYLOAD.slice(0, Buffer.concat(payload).length));
  }
  t.end();

  function startOf(index: number): number {
    return FRAMES.slice(0, index).reduce((sum, [bytes]) => sum + bytes.length, 0);
  }
});

t.test('a length that its command does not allow is an error as soon as it is known', (t) => {
  const allowed: [number, number, number][] = [
    [1, 11, 7 + 1 + 3 + 4096],
    [2, 7, 7],
    [3, 7, 7],
    [4, 11, 11],
    [5, 15, 15],
    [16, 7, 4096],
    [17, 7, 4096],
    [18, 7, 4096],
    [19, 7, 4096],
    [20, 7, 4096],
    [21, 7, 4096],
    [22, 7, 65535],
    [255, 7, 65535],
  ];
  for (const [command, least, most] of allowed)
    for (const total of [0, 1, 6, least - 1, most + 1, 65535]) {
      if (total > 65535 || (total >= least && total <= most)) continue;
      const header = frame(total, command, 1, 7);
      for (const cuts of [[], [3]])
        t.throws(
          () => decodePieces(header, cuts),
          { name: 'ProtocolError', code: 'FRAME_LENGTH', message: `it has ${total} bytes` },
          `command ${command}, total ${total}`,
        );
    }
  t.end();
});

t.test('the longest frames allowed', (t) => {
  const path = 'p'.repeat(4096);
  const longest = Buffer.concat([
    encodeOpen(1, { proto: 'unix', path }),
    frame(4096, 21, 0),
    frame(65535, 22, 0),
    frame(7, 2, 3),
  ]);
  for (const cuts of [[], [8], [4000, 4200, 9000], [...longest.keys()]])
    t.same(decodePieces(longest, cuts).lines, [
      `open 1 unix ${path}`,
      `extension 21 0 ${'00'.repeat(4089)}`,
      'unknown 22',
      'close 3',
    ]);
  t.end();
});

t.test('a command below the extensions that is unknown cannot be skipped', (t) => {
  for (const command of [0, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
    t.throws(() => decodePieces(frame(7, command, 1), []), {
      name: 'ProtocolError',
      code: 'UNKNOWN_COMMAND',
      message: `command ${command}`,
    });
  t.end();
});

t.test('an Open of any kind but multiplexed is refused, and a bad destination too', (t) => {
  for (const kind of [0, 1, 3, 255]) {
    const open = encodeOpen(1, { proto: 'tcp', ip: '10.0.0.1', port: 80 });
    open.writeUInt8(kind, 7);
    t.throws(() => decodePieces(open, []), { code: 'DEDICATED_STREAM', message: `kind ${kind}` });
  }
  const long = Buffer.concat([encodeOpen(1, { proto: 'unix', path: '/x' }), Buffer.alloc(1)]);
  long.writeUInt16LE(long.length, 0);
  t.throws(() => decodePieces(long, []), { code: 'BAD_DESTINATION' });
  t.end();
});

t.test('a window beyond 2^53-1 is Infinity', (t) => {
  const bytes = windowFrame(1, 0);
  bytes.writeBigUInt64LE(2n ** 53n, 7);
  t.same(decodePieces(bytes, []).lines, ['window 1 Infinity']);
  t.end();
});

t.test('stop: nothing comes any more, whatever was under way', (t) => {
  const transcript = new Transcript();
  const decoder = new FrameDecoder(transcript);
  decoder.push({ bytes: INPUT }, 0, INPUT.indexOf('hello') + 2);
  decoder.stop();
  decoder.push({ bytes: INPUT }, INPUT.indexOf('hello') + 2, INPUT.length);
  t.same(transcript.lines, LINES.slice(0, 3));
  t.equal(Buffer.concat(transcript.payload).toString(), 'he');

  const inFrame = new Transcript();
  const stopped = new FrameDecoder(inFrame);
  inFrame.handleClose = (id) => {
    inFrame.lines.push(`close ${id}`);
    stopped.stop();
  };
  const closes = { bytes: Buffer.concat([frame(7, 2, 1), frame(7, 2, 2)]) };
  stopped.push(closes, 0, 3);
  stopped.push(closes, 3, closes.bytes.length);
  t.same(inFrame.lines, ['close 1']);
  t.end();
});

t.test('random bytes throw nothing but ProtocolError, and payload is never copied or kept', (t) => {
  const command = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 16, max: 23 }), fc.nat(255));
  const header = fc
    .tuple(fc.oneof(fc.constantFrom(7, 11, 15, 17), fc.nat(80), fc.nat(65535)), command, fc.nat(3))
    .map(([total, command, id]) => frame(total, command, id, 7));
  const noise = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));
  const small = windowFrame(0, 0).subarray(7);
  fc.assert(
    fc.property(
      fc.array(fc.oneof(header, noise, fc.constant(small))),
      fc.array(fc.nat(200)),
      (parts, cuts) => {
        const input = Buffer.concat(parts);
        const transcript = new Transcript();
        const decoder = new FrameDecoder(transcript);
        let at = 0;
        try {
          for (const end of [
            ...cuts.filter((cut) => cut < input.length).sort((x, y) => x - y),
            input.length,
          ]) {
            const chunk = { bytes: Buffer.from(input.subarray(at, end)) };
            transcript.handlePayload = (given) => {
              if (given !== chunk) throw new Error('payload of another chunk');
            };
            decoder.push(chunk, 0, end - at);
            at = end;
          }
        } catch (thrown) {
          if (!(thrown instanceof ProtocolError)) throw thrown;
        }
      },
    ),
    { numRuns: 1000 },
  );
  t.end();
});
