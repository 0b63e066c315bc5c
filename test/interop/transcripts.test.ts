import t, { type Test } from 'tap';
import { MAGIC, PlainFrameReader } from './fixtures/plain-frames.js';
import { PlainPeerRules } from './fixtures/plain-peer-rules.js';
import { type Cut, Replay } from './fixtures/replay.js';
import { readTranscripts, type Transcript } from './fixtures/transcript.js';

const transcripts = readTranscripts();

const asRecorded: Cut = (bytes) => ({ pieces: bytes.length > 0 ? [bytes] : [], kept: Buffer.alloc(0) });

const byteByByte: Cut = (bytes) => ({
  pieces: Array.from(bytes, (byte) => Buffer.of(byte)),
  kept: Buffer.alloc(0),
});

/** Pieces of random sizes; the last one often comes only after what portferry did next in the recording. */
function late(seed: number): Cut {
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return (seed >>> 8) % below;
  };
  return (bytes, last) => {
    const pieces: Buffer[] = [];
    let at = 0;
    while (at < bytes.length && (last || random(4) > 0)) {
      const piece = bytes.subarray(at, at + 1 + random(random(2) ? 16 : 8192));
      pieces.push(piece);
      at += piece.length;
    }
    return { pieces, kept: bytes.subarray(at) };
  };
}

const CUTS: [string, Cut][] = [
  ['as recorded', asRecorded],
  ['byte by byte', byteByByte],
  ...Array.from({ length: 12 }, (_, seed): [string, Cut] => [`late, seed ${seed}`, late(seed)]),
];

t.ok(transcripts.size >= 20, `${transcripts.size} transcripts`);

for (const [name, transcript] of transcripts)
  t.test(`${name}: ${transcript.story}`, (t) => {
    for (const [cutName, cut] of CUTS) {
      const replay = new Replay(transcript);
      replay.run(cut);
      check(t, replay, transcript, cutName);
      if (cut === asRecorded) checkLateFrames(t, replay);
    }
    t.end();
  });

function check(t: Test, replay: Replay, { ends }: Transcript, cutName: string): void {
  t.equal(replay.ended, undefined, `${cutName}: the channel lives`);
  t.strictSame(replay.rules.finish(), [], `${cutName}: nothing that a plain peer cannot stand`);
  const sent = payloadsIn(replay.sent);
  const outcomes: Record<string, unknown> = {};
  for (const [id, stream] of replay.streams) {
    const wanted = Buffer.concat(stream.recorded.received);
    const received = Buffer.concat(stream.received);
    outcomes[id] = stream.outcome;
    // A stream that is given up may be so before the rest of what was under way to it.
    if (stream.gaveUp) t.ok(wanted.subarray(0, received.length).equals(received), `${cutName}: stream ${id}`);
    else t.ok(received.equals(wanted), `${cutName}: stream ${id} has received what vpnkit sent`);
    const payload = Buffer.concat(sent.get(id) ?? []);
    t.ok(
      payload.equals(Buffer.concat(stream.recorded.sent)),
      `${cutName}: stream ${id} has sent its payload`,
    );
  }
  t.strictSame(outcomes, ends, `${cutName}: how the streams ended`);
  t.equal(replay.multiplexer.streams.size, 0, `${cutName}: no stream is left`);
  t.equal(replay.pool.out, 0, `${cutName}: no memory is held`);
}

/** What vpnkit sends to a stream after its Close is skipped and counted, and nothing else is. */
function checkLateFrames(t: Test, replay: Replay): void {
  const recorded = [...replay.streams.values()].map((stream) => stream.recorded);
  t.strictSame(replay.multiplexer.skipped, {
    data: recorded.reduce((sum, { lateFrames }) => sum + lateFrames, 0),
    dataBytes: recorded.reduce((sum, { lateBytes }) => sum + lateBytes, 0),
    control: 0,
    unknown: 0,
  });
}

t.test('the recordings have the late frames that they are for', (t) => {
  for (const [name, frames, bytes] of [
    ['host-client-reset', 3, 3000],
    ['guest-server-reset', 3, 3000],
  ] as const) {
    const transcript = transcripts.get(name);
    if (!transcript) throw new Error(`no ${name}`);
    const replay = new Replay(transcript);
    replay.run(asRecorded);
    t.match(replay.multiplexer.skipped, { data: frames, dataBytes: bytes });
  }
  t.end();
});

t.test('what portferry sent in the recordings keeps to the rules', (t) => {
  for (const [name, { dialled, chunks }] of transcripts) {
    const rules = new PlainPeerRules(dialled);
    for (const { from, bytes } of chunks) {
      if (from === 'portferry') rules.portferrySends(bytes);
      else rules.peerSends(bytes);
    }
    t.strictSame(rules.finish(), [], name);
  }
  t.end();
});

t.test('the rules find what a plain peer cannot stand', (t) => {
  const open = '13000105000000020308002f746d702f666f6f';
  const window = '0f00050500000064000000000000';
  const [close, shutdown] = ['07000205000000', '07000305000000'];
  const data = (n: string): string => `0b000405000000${n}000000`;
  const cases: [string, string[], RegExp][] = [
    ['Close of an unknown stream', [close], /close on stream 5: no such stream/],
    ['Close twice', [open, close, close], /close on stream 5: its Close was sent before/],
    ['Data after Close', [open, close, data('01'), 'aa'], /data on stream 5: its Close was sent before/],
    ['Data after Shutdown', [open, shutdown, data('01'), 'aa'], /its Shutdown was sent before/],
    ['Shutdown twice', [open, shutdown, shutdown], /shutdown on stream 5: it was sent before/],
    ['too much Data', [open, data('0b'), 'aa'.repeat(11)], /11 bytes sent, 10 allowed/],
    ['empty Data', [open, data('00')], /it is empty/],
    ['an extension', ['0f001200000000', '0000000000000000'], /command 18 is none of the plain protocol/],
    [
      'a shrinking window',
      [open, `${window}00`, `0f000505000000${'63'}00000000000000`],
      /it allows 99, after 100/,
    ],
    ['an id in use', [open, open], /the id is in use/],
    ["an id of the other's range", [open.replace('05000000', 'ffffffff')], /range of the other end/],
    ['a dedicated stream', [open.replace('0000000203', '0000000103')], /connection kind 1/],
    ['a wrong total', ['08000205000000'], /command 2 has 7 bytes, total says 8/],
    ['an unknown destination', ['13000105000000020408002f746d702f666f6f'], /Open with protocol 4/],
    ['no Close', [open], /no Close was ever sent/],
    ['a cut frame', [open.slice(0, -2)], /the last frame is cut/],
  ];
  const handshake = Buffer.from(`${MAGIC}\0\0`, 'latin1');
  for (const [what, frames, violation] of cases) {
    const rules = new PlainPeerRules(false);
    rules.portferrySends(handshake);
    rules.peerSends(handshake);
    for (const frame of frames) {
      rules.portferrySends(Buffer.from(frame, 'hex'));
      if (frame === open) rules.peerSends(Buffer.from('0f0005050000000a00000000000000', 'hex'));
    }
    t.match(rules.finish().join('\n'), violation, what);
  }
  const stranger = new PlainPeerRules(false);
  stranger.portferrySends(Buffer.from('HTTP/1.1 400 Bad Request\r\n'));
  t.match(stranger.finish(), [/the handshake begins with HTTP/]);
  t.end();
});

function payloadsIn(sent: Buffer[]): Map<number, Buffer[]> {
  const payloads = new Map<number, Buffer[]>();
  for (const frame of new PlainFrameReader().push(Buffer.concat(sent))) {
    if (frame.kind !== 'data') continue;
    const list = payloads.get(frame.id) ?? [];
    list.push(frame.payload);
    payloads.set(frame.id, list);
  }
  return payloads;
}
