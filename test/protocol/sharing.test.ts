import t from 'tap';
import { Multiplexer } from '../../protocol/multiplexer.js';
import { SHARED_WINDOW_BYTES, SHARING_MS } from '../../protocol/sharing.js';
import { Slab, SlabPool } from '../../protocol/slab.js';
import { SMALL_IN_A_ROW, type Stream, type StreamHandler } from '../../protocol/stream.js';
import { MAX_WINDOW_BYTES } from '../../protocol/window.js';
import { Command, putDataHeader } from '../../protocol/wire/frame.js';
import { encodeHandshake, FEATURES } from '../../protocol/wire/handshake.js';

const DATA_HEADER_BYTES = 11;
const SMALL = 100;

/** A multiplexer with two streams whose readers take everything at once; the test is its peer. */
class SharedChannel {
  now = 1_000;
  readonly bulk: Stream;
  readonly other: Stream;
  readonly #multiplexer: Multiplexer;
  /** The last allowance of each stream. */
  readonly #allowed = new Map<number, number>();

  constructor() {
    this.#multiplexer = new Multiplexer({
      link: {
        send: (bytes) => {
          this.#readWindows(Buffer.from(bytes));
          return true;
        },
        close() {},
        destroy() {},
      },
      owner: { onReady() {}, onStream() {}, onGoAway() {}, onPong() {}, onIdle() {}, onEnd() {} },
      pool: new SlabPool(),
      dialled: true,
      version: 'test',
      defer() {},
      now: () => this.now,
    });
    this.#receive(encodeHandshake('test', FEATURES));
    this.bulk = this.#open();
    this.other = this.#open();
  }

  /** Payload for a stream, of which it allows as much. */
  send(stream: Stream, length: number): void {
    const frame = Buffer.alloc(DATA_HEADER_BYTES + length);
    putDataHeader(frame, 0, stream.id, length);
    this.#receive(frame);
  }

  /** Sends as much as is allowed, again and again, until the window is as large as it gets. */
  fill(stream: Stream): void {
    for (let round = 0; round < 40; round++) {
      this.now++;
      this.send(stream, this.open(stream));
    }
  }

  /** What may be sent on a stream now. */
  open(stream: Stream): number {
    return (this.#allowed.get(stream.id) ?? 16_384) - stream.bytesReceived;
  }

  #open(): Stream {
    const handler: StreamHandler = {
      onData: (_slab, start, end) => stream.consumed(end - start),
      onShutdown() {},
      onWritable() {},
      onOpenResult() {},
      onClosed() {},
    };
    const stream = this.#multiplexer.open({ proto: 'tcp', ip: '127.0.0.1', port: 80 }, handler);
    return stream;
  }

  #receive(bytes: Buffer): void {
    const slab = new Slab(bytes.length, false);
    bytes.copy(slab.bytes);
    this.#multiplexer.receive(slab, 0, bytes.length);
  }

  #readWindows(bytes: Buffer): void {
    // What is sent after the handshake are whole frames; of a multiplexer that sends no payload.
    if (bytes.toString('latin1', 0, 5) === 'https') return;
    for (let at = 0; at < bytes.length; at += bytes.readUInt16LE(at)) {
      if (bytes.readUInt8(at + 2) !== Command.window) continue;
      this.#allowed.set(bytes.readUInt32LE(at + 3), Number(bytes.readBigUInt64LE(at + 7)));
    }
  }
}

t.test('alone on its channel, a bulk stream gets a large window', async (t) => {
  const channel = new SharedChannel();
  channel.fill(channel.bulk);
  t.equal(channel.open(channel.bulk), MAX_WINDOW_BYTES);
});

t.test('beside requests it gets a small one, until there have been none for a while', async (t) => {
  const channel = new SharedChannel();
  channel.fill(channel.bulk);
  channel.send(channel.other, SMALL);
  channel.send(channel.bulk, channel.open(channel.bulk));
  t.equal(channel.open(channel.bulk), SHARED_WINDOW_BYTES);

  channel.now += SHARING_MS - 1;
  channel.send(channel.bulk, channel.open(channel.bulk));
  t.equal(channel.open(channel.bulk), SHARED_WINDOW_BYTES);

  channel.now += 1;
  channel.send(channel.bulk, channel.open(channel.bulk));
  t.equal(channel.open(channel.bulk), MAX_WINDOW_BYTES);
});

t.test('bulk streams beside each other keep their windows', async (t) => {
  const channel = new SharedChannel();
  channel.fill(channel.bulk);
  // The early data that a stream begins with counts as small.
  channel.send(channel.other, channel.open(channel.other));
  channel.now += SHARING_MS;
  channel.fill(channel.other);
  channel.send(channel.bulk, channel.open(channel.bulk));
  channel.send(channel.other, channel.open(channel.other));
  channel.send(channel.bulk, channel.open(channel.bulk));
  t.equal(channel.open(channel.bulk), MAX_WINDOW_BYTES);
});

t.test('what a bulk stream sends after a large payload is no request, until only little comes', async (t) => {
  const channel = new SharedChannel();
  channel.fill(channel.bulk);
  channel.fill(channel.other);
  channel.now += SHARING_MS;
  const sendBoth = (): void => {
    channel.send(channel.other, SMALL);
    channel.send(channel.bulk, channel.open(channel.bulk));
  };
  for (let count = 1; count < SMALL_IN_A_ROW; count++) {
    sendBoth();
    t.equal(channel.open(channel.bulk), MAX_WINDOW_BYTES);
  }
  sendBoth();
  t.equal(channel.open(channel.bulk), SHARED_WINDOW_BYTES);
});
