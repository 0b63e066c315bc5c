import { FrameRing } from '../../../protocol/frame-ring.js';
import type { Stream } from '../../../protocol/stream.js';
import { WINDOW_BUDGET_BYTES } from '../../../protocol/window.js';
import {
  encodeGoAway,
  encodeOpenResult,
  encodePing,
  encodeReset,
  encodeSource,
} from '../../../protocol/wire/extension.js';
import { encodeOpen, MAX_STREAM_ID } from '../../../protocol/wire/frame.js';
import { encodeHandshake, encodeHandshakePayload, FEATURES } from '../../../protocol/wire/handshake.js';
import { closeFrame, dataFrame, shutdownFrame, windowFrame } from '../../protocol/fixtures/frames.js';
import { MemoryLink, randomFrom, run } from '../../protocol/fixtures/memory-link.js';
import {
  accept,
  End,
  GAVE_UP,
  type RecordingHandler,
  WEB,
  write,
} from '../../protocol/fixtures/recording.js';
import type { Target } from '../target.js';

/** Streams that an end takes here: the limit is to be reached. */
const MAX_STREAMS = 12;

/** Of what an end does: lets microtasks run. */
const TURN = 15;

/** What an end may answer (bytes) to each byte that it gets: an Open of some 20 gets a refusal with its reason. */
const ANSWER_FACTOR = 20;
/** And beside it: its handshake, and what it is told to do itself. */
const OWN_BYTES = 8 * 1024;

const SOURCE = { client: { ip: '10.0.0.1', port: 4000 }, listener: { ip: '::1', port: 80 } };
const CONNECTED = { step: 'connected', micros: 7, reason: { code: '', message: '' } } as const;

/**
 * A multiplexer as a whole, against a peer that sends anything. Of an input, the first byte says which role and
 * features this end has, the second how the link behaves, the third how many bytes follow that say what this end
 * does and how much comes before it does the next thing; all else is what the peer sends.
 */
export const multiplexer: Target = {
  seeds: [0, 1, 2, 3, 64].flatMap((setup) => [
    seed(setup, [0x1f, 0x24, 0x85, 0x46], handshake(), ...openedByPeer(4)),
    seed(setup, [0x01, 0xf1, 0x13, 0x34, 0xff, 0x47], handshake(), ...answers(setup)),
    seed(setup, [0xff], encodeHandshakePayload(Buffer.alloc(0)), ...openedByPeer(1), closeFrame(1)),
  ]),
  async run(input) {
    const [setup = 0, linkSeed = 0, count = 0] = input;
    const session = new Session(setup, linkSeed);
    const peer = input.subarray(3 + count);
    let at = 0;
    for (const step of input.subarray(3, 3 + count)) {
      // The upper bits are a size, which doubles.
      const size = (1 << (step >> 4)) >> 1;
      session.receive(peer.subarray(at, at + size));
      at += size;
      session.act(step & 0x0f);
      // What a stream has heard before it was accepted is told in a microtask.
      if ((step & 0x0f) === TURN) await Promise.resolve();
    }
    session.receive(peer.subarray(at));
    session.finish(input.length);
    await Promise.resolve();
    session.checkEnd();
  },
};

class Session {
  readonly #end: End;
  readonly #links: [MemoryLink, MemoryLink];
  readonly #random: ReturnType<typeof randomFrom>;
  readonly #handlers: RecordingHandler[] = [];
  readonly #undecided: Stream[] = [];
  /** Those whose stream this end has given up: nothing is told of it any more. */
  readonly #gaveUp = new Set<RecordingHandler>();
  #written = 0;

  constructor(setup: number, linkSeed: number) {
    this.#random = randomFrom(linkSeed);
    this.#links = MemoryLink.pair(this.#random);
    const [link] = this.#links;
    link.taking = linkSeed & 1 ? 'sometimes' : 'always';
    this.#end = new End(link, {
      dialled: (setup & 1) === 1,
      features: FEATURES.filter((_, index) => setup & 2 || (setup >> (index + 2)) & 1),
      maxStreams: MAX_STREAMS,
      ...(setup & 4 && { frames: new FrameRing() }),
    });
    this.#end.owner.accept = (stream) => {
      if (this.#random() < 0.5) this.#handlers.push(accept(stream));
      else this.#undecided.push(stream);
    };
  }

  receive(bytes: Buffer): void {
    if (bytes.length > 0) this.#end.link.receive(bytes);
    run(this.#random, this.#links, 8);
  }

  /** One of the things that an end may do at any time. */
  act(what: number): void {
    const { multiplexer, link } = this.#end;
    const handler = this.#handlers.at(-1);
    const stream = handler?.stream;
    const open = handler && !handler.end && !this.#gaveUp.has(handler) ? stream : undefined;
    if (what === 0 && multiplexer.takesStreams && multiplexer.streams.size < MAX_STREAMS)
      this.#handlers.push(this.#end.open(WEB, SOURCE));
    if (what === 1 && open && this.#written < OWN_BYTES / 2) this.#write(open, 700);
    if (what === 2) open?.shutdown();
    if (what === 3 && open && handler) {
      this.#gaveUp.add(handler);
      open.reset(GAVE_UP);
    }
    if (what === 4 && handler) handler.reads = false;
    if (what === 5) handler?.read();
    if (what === 6) this.#decide();
    if (what === 7) this.#undecided.shift()?.refuse('policy', GAVE_UP);
    if (what === 8) link.stalled = !link.stalled;
    if (what === 9 && this.#end.owner.ends.length === 0) multiplexer.ping(7);
    if (what === 10 && this.#end.owner.ends.length === 0) multiplexer.goAway(GAVE_UP);
    if (what === 11) this.#end.now += 40;
    if (what === 12) multiplexer.describe();
    if (what === 13) multiplexer.close(GAVE_UP);
    if (what === 14) run(this.#random, this.#links);
  }

  /** The channel is cut. What this end has sent is no more than what the peer's bytes may ask for. */
  finish(inputBytes: number): void {
    const { multiplexer, link } = this.#end;
    run(this.#random, this.#links);
    const sent = link.delivered.reduce((sum, { length }) => sum + length, 0) + link.queued;
    const most = OWN_BYTES + ANSWER_FACTOR * inputBytes + this.#written;
    if (sent > most) throw new Error(`${sent} bytes in answer to ${inputBytes}`);
    if (multiplexer.streams.size > MAX_STREAMS) throw new Error(`${multiplexer.streams.size} streams`);
    for (const stream of this.#undecided.splice(0)) stream.refuse('policy', GAVE_UP);
    link.cut();
  }

  /** What holds whatever the peer has sent. */
  checkEnd(): void {
    const { multiplexer, link, owner } = this.#end;
    if (owner.causes.length > 0) throw owner.causes[0];
    if (owner.ends.length !== 1) throw new Error(`told of ${owner.ends.length} ends`);
    if (!owner.ends[0]?.code) throw new Error('an end without a code');
    for (const handler of this.#handlers)
      if (!handler.end && !this.#gaveUp.has(handler)) throw new Error('a stream was not told of the end');
    if (multiplexer.streams.size > 0) throw new Error(`${multiplexer.streams.size} streams are left`);
    if (multiplexer.budget.free !== WINDOW_BUDGET_BYTES) throw new Error('the budget is not free');
    if (link.pool.out > 0) throw new Error(`${link.pool.out} slabs are out`);
  }

  #write(stream: Stream, size: number): void {
    const handler = this.#handlers.at(-1);
    if (!handler || handler.events.includes('shut')) return;
    this.#written += size;
    // It goes on when the stream says so; here it never does.
    if (!write(stream, Buffer.alloc(size, 0x61))) handler.events.push('shut');
  }

  #decide(): void {
    const stream = this.#undecided.shift();
    if (stream) this.#handlers.push(accept(stream));
  }
}

function seed(setup: number, actions: readonly number[], ...parts: Buffer[]): Buffer {
  return Buffer.concat([Buffer.from([setup, 3, actions.length, ...actions]), ...parts]);
}

function handshake(): Buffer {
  return encodeHandshake('9', FEATURES);
}

function openedByPeer(id: number): Buffer[] {
  return [
    encodeSource(id, SOURCE),
    encodeOpen(id, WEB),
    windowFrame(id, 100_000),
    dataFrame(id, Buffer.from('hello')),
    encodePing(1),
    shutdownFrame(id),
    encodeGoAway(GAVE_UP),
  ];
}

/** To the first stream that this end has opened. */
function answers(setup: number): Buffer[] {
  const id = setup & 1 ? MAX_STREAM_ID : 0;
  return [
    encodeOpenResult(id, CONNECTED),
    windowFrame(id, 1_000),
    dataFrame(id, Buffer.from('answer')),
    encodeReset(id, GAVE_UP),
  ];
}
