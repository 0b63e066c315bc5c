import fc from 'fast-check';
import t from 'tap';
import type { Stream } from '../../protocol/stream.js';
import { WINDOW_BUDGET_BYTES } from '../../protocol/window.js';
import { encodeReset } from '../../protocol/wire/extension.js';
import { encodeOpen } from '../../protocol/wire/frame.js';
import { FEATURES, type Feature } from '../../protocol/wire/handshake.js';
import { closeFrame, dataFrame, shutdownFrame } from './fixtures/frames.js';
import { type Random, randomFrom } from './fixtures/memory-link.js';
import {
  accept,
  connect,
  type End,
  framesOf,
  GAVE_UP,
  type Pair,
  RecordingHandler,
  Solo,
  WEB,
  write,
} from './fixtures/recording.js';

/**
 * Random use of two multiplexers over a link that cuts, delays and overwrites, against a plain model: what a
 * side has written is what the other side gets, every byte once and in order; all of it when the stream has
 * closed, and the beginning of it when it was reset, refused or lost, which both sides then know.
 */

/** How a stream of the model looks from one of its ends. */
interface Side {
  handler: RecordingHandler;
  stream: Stream;
  /** Bytes given to write(). */
  written: number;
  writable: boolean;
  shut: boolean;
  /** It has called reset() or refuse(). */
  gaveUp: boolean;
  /** What its bytes are made of. */
  seed: number;
}

/** A stream; the accepting side is there when its Open has arrived. */
interface Modelled {
  key: number;
  opener: Side;
  acceptor: Side | undefined;
}

interface Operation {
  kind:
    | 'open'
    | 'brief'
    | 'decide'
    | 'write'
    | 'shutdown'
    | 'reset'
    | 'pause'
    | 'read'
    | 'stall'
    | 'ping'
    | 'tick';
  end: 'a' | 'b';
  /** Which of the streams, modulo their number. */
  stream: number;
  size: number;
  lent: boolean;
  /** Steps of the links after it. */
  steps: number;
}

/** Byte `index` of what the side with this seed writes. */
function byteAt(seed: number, index: number): number {
  return (Math.imul(index + 1, 0x9e3779b1) >>> 24) ^ (index & 0xff) ^ seed;
}

class Model {
  readonly pair: Pair;
  readonly streams: Modelled[] = [];
  /** Streams that have arrived and were neither accepted nor refused yet. */
  readonly #undecided: Stream[] = [];
  readonly #random: Random;

  constructor(seed: number, featuresB: readonly Feature[]) {
    this.#random = randomFrom(seed);
    this.pair = connect(this.#random, {}, { features: featuresB });
    for (const end of [this.pair.a, this.pair.b]) end.owner.accept = (stream) => this.#arrive(stream);
  }

  async do(operation: Operation): Promise<void> {
    const { kind, size, lent } = operation;
    const end = this.pair[operation.end];
    if (kind === 'open') this.#open(end);
    else if (kind === 'brief') this.#openBriefly(end, size, lent);
    else if (kind === 'decide') await this.#decide();
    else if (kind === 'stall') end.link.stalled = !end.link.stalled;
    else if (kind === 'ping') end.multiplexer.ping(size);
    else if (kind === 'tick') end.now += size % 100;
    else {
      const side = this.#side(operation);
      if (side) this.#use(side, kind, size, lent);
    }
    this.pair.run(operation.steps);
    for (const stream of this.streams) checkBytes(stream);
  }

  /** Lets everything come to its end: readers read, writers close. */
  async finish(): Promise<void> {
    this.pair.a.link.stalled = this.pair.b.link.stalled = false;
    this.pair.run();
    while (this.#undecided.length > 0) await this.#decide();
    for (let round = 0; round < 3; round++) {
      for (const side of this.#sides()) {
        side.handler.read();
        this.#use(side, 'shutdown', 0, false);
      }
      this.pair.run();
    }
    for (const stream of this.streams) checkEnd(stream);
    for (const end of [this.pair.a, this.pair.b]) checkReleased(end);
  }

  async cut(): Promise<void> {
    this.pair.a.link.cut();
    this.pair.run();
    while (this.#undecided.length > 0) await this.#decide();
    for (const stream of this.streams) checkBytes(stream);
    for (const side of this.#sides())
      if (!side.gaveUp && !side.handler.end) throw new Error('a stream was not told of the end');
    for (const end of [this.pair.a, this.pair.b]) checkReleased(end);
  }

  #sides(): Side[] {
    return this.streams.flatMap(({ opener, acceptor }) => (acceptor ? [opener, acceptor] : [opener]));
  }

  #side({ stream, end }: Operation): Side | undefined {
    const found = this.streams[stream % Math.max(1, this.streams.length)];
    return end === 'a' ? found?.opener : found?.acceptor;
  }

  /** A client that comes, sends something, and is gone before anybody has answered. */
  #openBriefly(end: End, size: number, lent: boolean): void {
    const { opener } = this.#open(end);
    if (size > 0) this.#use(opener, 'write', size, lent);
    if (this.#random() < 0.5) this.#use(opener, 'shutdown', 0, false);
    if (this.#random() < 0.7) this.#use(opener, 'reset', 0, false);
  }

  #open(end: End): Modelled {
    const key = this.streams.length;
    const handler = new RecordingHandler();
    const stream = end.multiplexer.open({ proto: 'unix', path: `/${key}` }, handler);
    handler.stream = stream;
    const opened: Modelled = { key, opener: makeSide(handler, stream, 2 * key), acceptor: undefined };
    this.streams.push(opened);
    return opened;
  }

  /** Some streams are accepted at once, others when their opener may have sent and ended something already. */
  #arrive(stream: Stream): void {
    if (this.#random() < 0.5) this.#accept(stream);
    else this.#undecided.push(stream);
  }

  /** What has happened before is told in a microtask, that is before anything else can happen. */
  async #decide(): Promise<void> {
    const stream = this.#undecided.shift();
    if (stream) this.#accept(stream);
    await Promise.resolve();
  }

  #accept(stream: Stream): void {
    const key = stream.destination.proto === 'unix' ? Number(stream.destination.path.slice(1)) : -1;
    const modelled = this.streams[key];
    if (!modelled) throw new Error('a stream that nobody has opened');
    if (this.#random() < 0.1) {
      stream.refuse('dial', GAVE_UP);
      modelled.acceptor = makeSide(new RecordingHandler(), stream, 2 * key + 1);
      modelled.acceptor.gaveUp = true;
      return;
    }
    const handler = accept(stream);
    stream.reportConnected(1);
    modelled.acceptor = makeSide(handler, stream, 2 * key + 1);
  }

  #use(side: Side, kind: Operation['kind'], size: number, lent: boolean): void {
    if (kind === 'pause') side.handler.reads = false;
    else if (kind === 'read') side.handler.read();
    else if (side.gaveUp || side.handler.end) return;
    else if (kind === 'reset') {
      side.gaveUp = true;
      side.stream.reset(GAVE_UP);
    } else if (kind === 'shutdown') {
      side.shut = true;
      side.stream.shutdown();
    } else if (kind === 'write' && side.writable && !side.shut) {
      const bytes = Buffer.alloc(size);
      for (let index = 0; index < size; index++) bytes[index] = byteAt(side.seed, side.written + index);
      side.written += size;
      side.writable = write(side.stream, bytes, lent);
    }
  }
}

function makeSide(handler: RecordingHandler, stream: Stream, seed: number): Side {
  const side: Side = { handler, stream, written: 0, writable: true, shut: false, gaveUp: false, seed };
  handler.writable = () => {
    if (side.writable) throw new Error('onWritable, though nothing waited');
    side.writable = true;
  };
  return side;
}

/** What has arrived is the beginning of what was written. */
function checkBytes({ key, opener, acceptor }: Modelled): void {
  if (!acceptor) return;
  for (const [from, to] of [
    [opener, acceptor],
    [acceptor, opener],
  ] as const) {
    let at = to.handler.checked;
    for (const chunk of to.handler.chunks.splice(0))
      for (const byte of chunk)
        if (byte !== (byteAt(from.seed, at++) & 0xff)) throw new Error(`stream ${key}: wrong byte ${at - 1}`);
    to.handler.checked = at;
    if (at > from.written) throw new Error(`stream ${key}: more bytes than were written`);
  }
}

function checkEnd(stream: Modelled): void {
  checkBytes(stream);
  const { key, opener, acceptor } = stream;
  if (!acceptor) throw new Error(`stream ${key} never arrived`);
  for (const [from, to] of [
    [opener, acceptor],
    [acceptor, opener],
  ] as const) {
    if (to.gaveUp) continue;
    const how = to.handler.end?.how;
    if (from.gaveUp) {
      if (how !== 'reset' && how !== 'refused' && !(how === 'closed' && from.shut))
        throw new Error(`stream ${key}: given up at one end, ${how} at the other`);
    } else if (how !== 'closed') throw new Error(`stream ${key}: ${how}, though nobody gave it up`);
    if (how === 'closed' && to.handler.checked !== from.written)
      throw new Error(`stream ${key}: closed with ${to.handler.checked} of ${from.written} bytes`);
  }
}

/** All streams are over: nothing is held for them. */
function checkReleased({ multiplexer, link }: End): void {
  if (multiplexer.streams.size > 0) throw new Error(`${multiplexer.streams.size} streams are left`);
  if (multiplexer.budget.free !== WINDOW_BUDGET_BYTES) throw new Error('the budget is not free');
  const out = link.state === 'gone' ? 0 : 1;
  if (link.pool.out !== out) throw new Error(`${link.pool.out} slabs are out, not ${out}`);
}

const operation: fc.Arbitrary<Operation> = fc.record({
  kind: fc.oneof(
    { weight: 3, arbitrary: fc.constant('open' as const) },
    { weight: 2, arbitrary: fc.constant('brief' as const) },
    { weight: 2, arbitrary: fc.constant('decide' as const) },
    { weight: 12, arbitrary: fc.constant('write' as const) },
    {
      weight: 6,
      arbitrary: fc.constantFrom<Operation['kind'][]>('shutdown', 'pause', 'read', 'stall', 'ping', 'tick'),
    },
    { weight: 1, arbitrary: fc.constant('reset' as const) },
  ),
  end: fc.constantFrom('a' as const, 'b' as const),
  stream: fc.nat(20),
  size: fc.oneof(fc.nat(20), fc.nat(20_000), fc.nat(150_000)),
  lent: fc.boolean(),
  steps: fc.oneof(fc.nat(3), fc.nat(60)),
});
const operations = fc.array(operation, { minLength: 5, maxLength: 60, size: 'max' });

for (const [name, features] of [
  ['portferry ends', FEATURES],
  ['one plain end', []],
] as const) {
  t.test(`${name}: every byte once and in order, or the stream is known to be broken`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), operations, async (seed, sequence) => {
        const model = new Model(seed, features);
        for (const each of sequence) await model.do(each);
        await model.finish();
        for (const { link, owner, multiplexer } of [model.pair.a, model.pair.b]) {
          if (owner.ends.length > 0) throw new Error(`the channel ended: ${owner.ends[0]?.message}`);
          if (multiplexer.skipped.unknown > 0) throw new Error('a frame that was not agreed on');
          const sent = framesOf(Buffer.concat(link.delivered));
          if (features.length === 0 && sent.some((line) => line.startsWith('extension')))
            throw new Error('an extension frame for a plain peer');
        }
      }),
      { numRuns: 60 },
    );
  });

  t.test(`${name}: a link that is cut at a random moment loses every stream, and nothing else`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), operations, async (seed, sequence) => {
        const model = new Model(seed, features);
        for (const each of sequence) await model.do(each);
        await model.cut();
      }),
      { numRuns: 40 },
    );
  });
}

/** How a peer ends a stream right behind its Open, and how the handler must hear of it. */
const ENDINGS: readonly { frames: Buffer[]; how: 'closed' | 'reset' | undefined; shut: boolean }[] = [
  { frames: [], how: undefined, shut: false },
  { frames: [shutdownFrame(4)], how: undefined, shut: true },
  { frames: [shutdownFrame(4), closeFrame(4)], how: 'closed', shut: true },
  { frames: [closeFrame(4)], how: 'reset', shut: false },
  { frames: [encodeReset(4, GAVE_UP)], how: 'reset', shut: false },
  { frames: [shutdownFrame(4), encodeReset(4, GAVE_UP)], how: 'reset', shut: true },
];

t.test(
  'Open, early data and an end, cut anywhere, accepted at any time: the beginning, or all of it',
  async () => {
    const payload = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
    const pieces = fc.array(payload, { maxLength: 20 });
    const cuts = fc.array(fc.nat(6_500), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(
        pieces,
        fc.constantFrom(...ENDINGS),
        cuts,
        fc.nat(13),
        fc.boolean(),
        async (data, ending, places, acceptAfter, turns) => {
          const end = new Solo(FEATURES);
          end.owner.accept = () => {};
          const input = Buffer.concat([
            encodeOpen(4, WEB),
            ...data.map((each) => dataFrame(4, each)),
            ...ending.frames,
          ]);
          const ends = [
            ...places.filter((place) => place < input.length).sort((x, y) => x - y),
            input.length,
          ];
          let handler: RecordingHandler | undefined;
          const mayAccept = (): void => {
            const [stream] = end.owner.streams;
            if (stream) handler ??= accept(stream);
          };
          let at = 0;
          for (const [index, to] of ends.entries()) {
            end.receive(input.subarray(at, to));
            at = to;
            if (index >= acceptAfter) mayAccept();
            // The next bytes may come before what came early is told, and after it.
            if (turns) await Promise.resolve();
          }
          mayAccept();
          await Promise.resolve();
          checkBrief(handler, Buffer.concat(data), ending);
          if (end.ended !== undefined) throw new Error(`the channel ended: ${end.ended}`);
          handler?.stream?.reset(GAVE_UP);
          if (end.multiplexer.budget.free !== WINDOW_BUDGET_BYTES) throw new Error('the budget is not free');
        },
      ),
      { numRuns: 400 },
    );
  },
);

function checkBrief(
  handler: RecordingHandler | undefined,
  sent: Buffer,
  { how, shut }: (typeof ENDINGS)[number],
): void {
  if (!handler) throw new Error('never opened');
  if (handler.end?.how !== how) throw new Error(`it ended as ${handler.end?.how}, not as ${how}`);
  const { data, events } = handler;
  if (!data.equals(sent.subarray(0, data.length))) throw new Error('other bytes than were sent');
  if (how !== 'reset' && data.length !== sent.length)
    throw new Error(`${data.length} of ${sent.length} bytes`);
  if (how !== 'reset' && events.includes('shutdown') !== shut) throw new Error(`it heard ${events}`);
  if (!shut && events.includes('shutdown')) throw new Error('what was cut looks complete');
}
