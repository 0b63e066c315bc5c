import { BlockReader } from '../../../host/capture/block-reader.js';
import { answerExtcap, extcapInterfaces, readExtcapQuestion } from '../../../host/capture/extcap.js';
import { FrameCutter } from '../../../host/capture/frame-cutter.js';
import { FrameFilter } from '../../../host/capture/frame-filter.js';
import { OperationError, UsageError } from '../../../protocol/errors.js';
import { encodeOpen } from '../../../protocol/wire/frame.js';
import { encodeHandshake, FEATURES } from '../../../protocol/wire/handshake.js';
import { dataFrame } from '../../protocol/fixtures/frames.js';
import { WEB } from '../../protocol/fixtures/recording.js';
import { allow, equal, type Target } from '../target.js';

/** As many bytes of a frame are kept as a capture keeps at least. */
const KEPT_BYTES = 64;

/** The first byte says which reader, the second how the bytes are cut. */
const READERS: readonly ((bytes: Buffer, cut: number) => void)[] = [blocks, frames, extcap];

/** What is read by a capture: its own file as the host sends it, the channel's frames, and what Wireshark asks. */
export const capture: Target = {
  seeds: [
    seed(0, Buffer.concat([sectionHeader(), statistics(), packet()])),
    // How many were dropped, in too few bytes.
    seed(
      0,
      Buffer.concat([
        sectionHeader(),
        block(5, Buffer.from('000000000000000000000000050001000700000000000000', 'hex')),
      ]),
    ),
    seed(
      1,
      Buffer.concat([
        encodeHandshake('1.0.0', FEATURES),
        encodeOpen(4, WEB),
        dataFrame(4, Buffer.from('hello')),
      ]),
    ),
    seed(2, Buffer.from('--extcap-interfaces')),
    seed(2, Buffer.from('--capture\n--extcap-interface\nportferry-8080\n--fifo=/f\n--snaplen=64')),
    seed(2, Buffer.from('--extcap-config\n--extcap-interface=portferry-frames\ntcp localhost:8080')),
  ],
  run(input) {
    const [which = 0, cut = 0] = input;
    READERS[which % READERS.length]?.(input.subarray(2), cut);
  },
};

function seed(which: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([which, 3]), bytes]);
}

function inPieces(bytes: Buffer, cut: number): Buffer[] {
  const size = cut || bytes.length || 1;
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );
}

/** However it is cut, the same blocks come of it. */
function blocks(bytes: Buffer, cut: number): void {
  const [whole, cutUp] = [0, cut].map((size) => {
    const reader = new BlockReader();
    const out: Buffer[] = [];
    const refused = !allow([OperationError], () => {
      for (const piece of inPieces(bytes, size)) out.push(Buffer.from(reader.push(piece)));
      return true;
    });
    const { packets, dropped, ending } = reader;
    return refused ? 'refused' : { out: Buffer.concat(out).toString('hex'), packets, dropped, ending };
  });
  equal(cutUp, whole, 'cut up, this is another capture');
}

function frames(bytes: Buffer, cut: number): void {
  const [whole, cutUp] = [0, cut].map((size) => {
    const lines: string[] = [];
    const filter = new FrameFilter(() => true, [4]);
    const cutter = new FrameCutter((kind, piece, length) => {
      lines.push(`${kind} ${length} ${piece.toString('hex')}`);
      // What the host sends is its own.
      filter.pick(kind, piece, true);
    }, KEPT_BYTES);
    cutter.begin();
    for (const piece of inPieces(bytes, size)) cutter.push(piece);
    cutter.begin();
    return lines;
  });
  equal(cutUp, whole, 'cut up, these are other frames');
}

function extcap(bytes: Buffer): void {
  const args = bytes.toString().split('\n');
  const question = allow([UsageError], () => readExtcapQuestion(args));
  const interfaces = extcapInterfaces(args.map((id) => ({ id, destination: id, annotation: id })));
  const names = new Set(interfaces.map(({ name }) => name));
  if (names.size !== interfaces.length) throw new Error('two interfaces of one name');
  if (question) answerExtcap(question, interfaces, '1.0.0');
}

function block(type: number, body: Buffer): Buffer {
  const whole = Buffer.alloc(12 + body.length);
  whole.writeUInt32LE(type, 0);
  whole.writeUInt32LE(whole.length, 4);
  body.copy(whole, 8);
  whole.writeUInt32LE(whole.length, whole.length - 4);
  return whole;
}

function sectionHeader(): Buffer {
  return block(0x0a0d0d0a, Buffer.from('4d3c2b1a01000000ffffffffffffffff', 'hex'));
}

/** With a comment, and how many packets were dropped. */
function statistics(): Buffer {
  return block(
    5,
    Buffer.from('000000000000000000000000010003006162630005000800070000000000000000000000', 'hex'),
  );
}

function packet(): Buffer {
  return block(6, Buffer.alloc(20));
}
