import { readdirSync, readFileSync } from 'node:fs';
import t, { type Test as Tap } from 'tap';
import { DATAGRAM_BUDGET_BYTES, MAX_QUEUED_DATAGRAM_BYTES } from '../../protocol/datagram-stream.js';
import { ProtocolError } from '../../protocol/errors.js';
import { Multiplexer } from '../../protocol/multiplexer.js';
import { MAX_QUEUED_CONTROL_BYTES } from '../../protocol/outbox.js';
import { Slab, SlabPool } from '../../protocol/slab.js';
import type { Stream, StreamHandler } from '../../protocol/stream.js';
import { MAX_WINDOW_BYTES, MIN_WINDOW_BYTES, WINDOW_BUDGET_BYTES } from '../../protocol/window.js';
import {
  DATAGRAM_HEADER_BYTES,
  DatagramDecoder,
  MAX_DATAGRAM_BYTES,
  putDatagram,
} from '../../protocol/wire/datagram.js';
import { MAX_PATH_BYTES } from '../../protocol/wire/destination.js';
import { EARLY_DATA_BYTES, MAX_REASON_BYTES, OPEN_STEPS } from '../../protocol/wire/extension.js';
import {
  decodeIdentity,
  encodeHandshakePayload,
  FEATURES,
  type Feature,
  HandshakeDecoder,
} from '../../protocol/wire/handshake.js';
import { describeFrame, encodeAgain, sourceOf, textOf } from './fixtures/frame-text.js';

/** A row of a table of SPEC.md that has a column `hex`: by column, and the heading it is under. */
type Vector = Record<'hex' | 'meaning' | 'heading', string> & Partial<Record<'from', string>>;

const PROTOCOL = new URL('../../protocol/', import.meta.url);
const SPEC = readFileSync(new URL('SPEC.md', PROTOCOL), 'utf8');
const VECTORS = readVectors(SPEC);

t.test('every vector means what is written beside it', async (t) => {
  t.ok(VECTORS.length >= 45, `${VECTORS.length} vectors were found`);
  for (const { hex, meaning, heading } of VECTORS) {
    const bytes = Buffer.from(hex, 'hex');
    t.equal(bytes.toString('hex'), hex, 'hexadecimal');
    if (meaning.startsWith('handshake')) t.equal(describeHandshake(bytes), meaning);
    else if (heading.includes('UDP')) {
      const [said = '', foreign] = meaning.split(', from another encoder');
      if (said === 'BAD_DATAGRAM')
        t.throws(() => describeDatagram(t, bytes, true), { name: 'ProtocolError', code: said });
      else t.equal(describeDatagram(t, bytes, foreign !== undefined), said);
    } else if (/^[A-Z_]+$/.test(meaning)) t.equal(violationOf(bytes), meaning, hex);
    else checkFrame(t, bytes, meaning);
  }
});

t.test('every code of a violation is in the table of reactions, and only there are others', async (t) => {
  const source = readFileSync(new URL('errors.ts', PROTOCOL), 'utf8');
  const codes = [...source.matchAll(/^ {2}\| '([A-Z_]+)'/gm)].map(([, code]) => code);
  const reactions = [
    ...SPEC.matchAll(/^\| `([A-Z_]+)` +\|.*\| (?:ends the channel|resets the stream) +\|$/gm),
  ];
  t.ok(codes.length > 10);
  t.same(reactions.map(([, code]) => code).sort(), codes.sort());
});

t.test('every other reason that streams and channel end with is there, too', async (t) => {
  const sources = readdirSync(PROTOCOL).filter((name) => name.endsWith('.ts'));
  const codes = sources.flatMap((name) =>
    [...readFileSync(new URL(name, PROTOCOL), 'utf8').matchAll(/code: '([A-Z_]+)'/g)].map(([, code]) => code),
  );
  t.ok(codes.includes('CLOSED_EARLY') && codes.includes('INTERNAL'));
  for (const code of codes) t.ok(SPEC.includes(`\`${code}\``), `${code}`);
});

t.test('the limits are those of the code', async (t) => {
  const limits = new Map(
    [
      ...SPEC.slice(SPEC.indexOf('## 13. ')).matchAll(
        /^\| (.+?) +\| (.+?) +\| (?:the wire|portferry|UDP)'s/gm,
      ),
    ].map(([, what, bound]) => [what, bound]),
  );
  t.match(limits.get('path of a destination'), `${MAX_PATH_BYTES} bytes`);
  t.match(limits.get('message of a reason'), `${MAX_REASON_BYTES} bytes`);
  t.match(limits.get('payload of a datagram'), `${MAX_DATAGRAM_BYTES} bytes`);
  t.match(limits.get('window of a stream'), `${MIN_WINDOW_BYTES} bytes to ${mebibytes(MAX_WINDOW_BYTES)}`);
  t.match(limits.get('skipped payload of one Data frame'), mebibytes(MAX_WINDOW_BYTES));
  t.match(
    limits.get(`windows of a channel beyond ${MIN_WINDOW_BYTES} bytes a stream`),
    mebibytes(WINDOW_BUDGET_BYTES),
  );
  t.match(limits.get('control frames that wait to be sent'), mebibytes(MAX_QUEUED_CONTROL_BYTES));
  t.match(
    limits.get('datagrams that wait for a stream'),
    `${MAX_QUEUED_DATAGRAM_BYTES / 1024} KiB, and ${mebibytes(DATAGRAM_BUDGET_BYTES)}`,
  );
  t.match(SPEC, `as if a Window of **${EARLY_DATA_BYTES}** had been received`);
  const [connected, ...refused] = OPEN_STEPS;
  const steps = refused.map((step, index) => `${index + 1} ${step}`).join(', ');
  t.match(SPEC, `| 0 ${connected}; refused at: ${steps} `);
  t.match(SPEC, `"features": ${JSON.stringify(FEATURES).replaceAll(',', ', ')}`);
});

for (const [name, heading, guestFeatures] of [
  ['two ends', '### 14.1', FEATURES],
  ['a host and a plain guest', '### 14.2', []],
] as const)
  t.test(`${name} hold the conversation as it is written, byte for byte`, async (t) => {
    const lines = VECTORS.filter((vector) => vector.heading.startsWith(heading));
    t.ok(lines.length > 10);
    const sent = (from: string): string =>
      lines
        .filter((line) => line.from === from)
        .map((line) => line.hex)
        .join('');
    const host = new End(false, FEATURES);
    const guest = new End(true, guestFeatures);
    const exchange = (): void => {
      for (let turn = 0; turn < 4; turn++) {
        guest.receive(host.takeSent());
        host.receive(guest.takeSent());
        host.turn();
        guest.turn();
      }
    };
    exchange();
    // A plain guest is not told of it.
    const source = sourceOf(VECTORS);
    const stream = host.multiplexer.open({ proto: 'tcp', ip: '127.0.0.1', port: 80 }, host.handler, source);
    write(stream, textOf(lines, 'host'));
    stream.shutdown();
    exchange();
    const [accepted] = guest.accepted;
    accepted?.reportConnected(412);
    exchange();
    write(accepted, textOf(lines, 'guest'));
    accepted?.shutdown();
    exchange();
    t.equal(host.sent, sent('host'));
    t.equal(guest.sent, sent('guest'));
    t.equal(host.multiplexer.streams.size, 0);
    t.equal(guest.multiplexer.streams.size, 0);
  });

/** One end of the conversation, whose turns come when they are told to. */
class End {
  readonly multiplexer: Multiplexer;
  readonly accepted: Stream[] = [];
  sent = '';
  #unsent: Buffer[] = [];
  #deferred: (() => void)[] = [];
  readonly handler: StreamHandler = {
    onData() {},
    onShutdown() {},
    onWritable() {},
    onOpenResult() {},
    onClosed() {},
  };

  /** @param features what it announces; with none it says nothing, as a plain end does */
  constructor(dialled: boolean, features: readonly Feature[]) {
    this.multiplexer = new Multiplexer({
      dialled,
      features,
      version: '0.1.0',
      pool: new SlabPool(),
      link: { send: (bytes) => this.#send(bytes), close() {}, destroy() {} },
      defer: (run) => this.#deferred.push(run),
      owner: {
        onReady() {},
        onStream: (stream) => {
          this.accepted.push(stream);
          stream.accept(this.handler);
        },
        onGoAway() {},
        onPong() {},
        onIdle() {},
        onEnd() {},
      },
    });
    if (features.length > 0) return;
    this.takeSent();
    this.sent = '';
    this.#send(encodeHandshakePayload(Buffer.alloc(0)));
  }

  receive(bytes: Buffer): void {
    const slab = new Slab(bytes.length, false);
    bytes.copy(slab.bytes);
    this.multiplexer.receive(slab, 0, bytes.length);
  }

  turn(): void {
    for (const run of this.#deferred.splice(0)) run();
  }

  takeSent(): Buffer {
    return Buffer.concat(this.#unsent.splice(0));
  }

  #send(bytes: Uint8Array): boolean {
    this.#unsent.push(Buffer.from(bytes));
    this.sent += Buffer.from(bytes).toString('hex');
    return true;
  }
}

function mebibytes(bytes: number): string {
  return `${bytes / 1024 / 1024} MiB`;
}

function write(stream: Stream | undefined, text: string): void {
  const slab = new Slab(text.length, false);
  slab.room.write(text, 'latin1');
  const start = slab.bytes.length - text.length;
  stream?.write(slab, start, slab.bytes.length, false);
}

function checkFrame(t: Tap, bytes: Buffer, meaning: string): void {
  const [said, foreign] = meaning.split(', from another encoder');
  t.equal(describeFrame(bytes), said);
  const again = encodeAgain(bytes);
  // What is skipped, or comes from another encoder, is not sent by ours.
  if (!again || foreign !== undefined) return;
  t.equal(again.toString('hex'), bytes.toString('hex'), `${meaning}: encoded`);
  // A frame is not taken before its last byte is there.
  for (let length = 0; length < Math.min(bytes.length, bytes.readUInt16LE(0)); length++)
    t.equal(describeFrame(bytes.subarray(0, length)), 'incomplete', `${meaning}: ${length} bytes`);
}

function violationOf(bytes: Buffer): string {
  try {
    return describeFrame(bytes);
  } catch (thrown) {
    return thrown instanceof ProtocolError ? thrown.code : String(thrown);
  }
}

function describeHandshake(bytes: Buffer): string {
  const decoder = new HandshakeDecoder();
  if (decoder.push(bytes, 0, bytes.length) !== bytes.length || !decoder.payload) return 'incomplete';
  const { version, features } = decodeIdentity(decoder.payload);
  return version === undefined
    ? 'handshake of a plain end'
    : `handshake of portferry ${version}, ${[...features].join(' ')}`;
}

/** Decodes one datagram; what another encoder may write is not what ours does. */
function describeDatagram(t: Tap, bytes: Buffer, foreign: boolean): string {
  const payloads: Buffer[] = [];
  const decoder = new DatagramDecoder((payload) => payloads.push(payload));
  for (const byte of bytes) {
    t.equal(payloads.length, 0, 'it is not taken before its last byte is there');
    decoder.push(Buffer.of(byte), 0, 1);
  }
  const [payload] = payloads;
  if (!payload) return 'incomplete';
  const again = Buffer.alloc(DATAGRAM_HEADER_BYTES + payload.length);
  putDatagram(again, 0, payload);
  if (!foreign) t.equal(again.toString('hex'), bytes.toString('hex'), 'encoded');
  return `datagram "${payload.toString('latin1')}"`;
}

function readVectors(markdown: string): Vector[] {
  const vectors: Vector[] = [];
  let columns: string[] = [];
  let heading = '';
  for (const line of markdown.split('\n')) {
    const cells = line.startsWith('|')
      ? line
          .slice(1, -1)
          .split('|')
          .map((cell) => cell.trim())
      : [];
    if (line.startsWith('#')) heading = line;
    if (cells.length === 0) columns = [];
    else if (columns.length === 0) columns = cells;
    else if (columns.includes('hex') && !cells[0]?.startsWith('---')) {
      const row = Object.fromEntries(columns.map((column, index) => [column, cells[index] ?? '']));
      const hex = (row['hex'] ?? '').replace(/[` ]/g, '');
      const from = row['from'];
      const meaning = (row['meaning'] ?? '').replace(/`/g, '');
      vectors.push(from === undefined ? { hex, meaning, heading } : { hex, meaning, heading, from });
    }
  }
  return vectors;
}
