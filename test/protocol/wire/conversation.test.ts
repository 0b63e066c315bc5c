import { createHash } from 'node:crypto';
import t from 'tap';
import { Conversation, type ConversationEnd } from '../../../protocol/wire/conversation.js';
import {
  ESCAPE,
  encodeLineBytes,
  encodeLineMessage,
  LineDecoder,
  type LineMessage,
  NO_NONCE,
} from '../../../protocol/wire/line.js';
import { randomFrom } from '../fixtures/memory-link.js';

/** A conversation whose messages, agreements and ends are kept. */
function solo(own: string) {
  const sent: LineMessage[] = [];
  const agreed: boolean[] = [];
  const ends: ConversationEnd[] = [];
  const conversation = new Conversation(own, {
    onSend: (message) => sent.push(message),
    onAgreed: (first) => agreed.push(first),
    onOver: (end) => ends.push(end),
  });
  return { conversation, sent, agreed, ends };
}

const A = 'aaaaaaaaaaaaaaaa';
const B = 'bbbbbbbbbbbbbbbb';
const C = 'cccccccccccccccc';

t.test('two ends agree, and agree on which is the first', async (t) => {
  const [a, b] = [solo(A), solo(B)];
  a.conversation.greet();
  t.same(a.sent.shift(), { kind: 'hello', own: A, heard: NO_NONCE });
  b.conversation.greet();
  b.conversation.handle({ kind: 'hello', own: A, heard: NO_NONCE });
  t.same(b.sent, [
    { kind: 'hello', own: B, heard: NO_NONCE },
    { kind: 'hello', own: B, heard: A },
  ]);
  for (const message of b.sent.splice(0)) a.conversation.handle(message);
  t.same(a.agreed, [false]);
  for (const message of a.sent) b.conversation.handle(message);
  t.same(b.agreed, [true]);
  t.equal(a.conversation.state, 'agreed');
  const counts = [a.sent.length, b.sent.length];
  a.conversation.greet();
  a.conversation.handle({ kind: 'hello', own: B, heard: NO_NONCE });
  b.conversation.handle({ kind: 'hello', own: A, heard: B });
  t.same([a.sent.length, b.sent.length], counts, 'hellos that were on their way change nothing');
  t.same([...a.ends, ...b.ends], []);
});

t.test('ends when the other end leaves, or begins anew, and says nothing more', async (t) => {
  for (const [message, end] of [
    [{ kind: 'bye', own: B, heard: A }, 'bye'],
    [{ kind: 'hello', own: C, heard: NO_NONCE }, 'anew'],
    [{ kind: 'hello', own: A, heard: NO_NONCE }, 'echo'],
  ] as const) {
    const { conversation, sent, ends } = solo(A);
    conversation.handle({ kind: 'hello', own: B, heard: A });
    sent.length = 0;
    for (const other of [
      { kind: 'bye', own: C, heard: A },
      { kind: 'bye', own: B, heard: C },
    ] as const)
      conversation.handle(other);
    t.same(ends, [], 'byes of other conversations');
    conversation.handle(message);
    t.same(ends, [end]);
    conversation.greet();
    conversation.leave();
    conversation.handle({ kind: 'hello', own: B, heard: A });
    t.same(sent, []);
  }
});

t.test('whoever leaves says so, once it has been heard', async (t) => {
  const early = solo(A);
  early.conversation.handle({ kind: 'bye', own: B, heard: A });
  early.conversation.leave();
  t.same(early.sent, []);
  const { conversation, sent } = solo(A);
  conversation.handle({ kind: 'hello', own: B, heard: A });
  conversation.leave();
  conversation.leave();
  t.same(sent.slice(1), [{ kind: 'bye', own: A, heard: B }]);
});

/** A whole number below the limit. */
type Random = (limit: number) => number;

/** The line: what was sent one way and has not arrived. It loses bytes only where an end begins anew. */
class Pipe {
  bytes: Buffer = Buffer.alloc(0);

  push(bytes: Uint8Array): void {
    this.bytes = Buffer.concat([this.bytes, bytes]);
  }

  take(count: number): Buffer {
    const taken = Buffer.from(this.bytes.subarray(0, count));
    this.bytes = this.bytes.subarray(count);
    return taken;
  }
}

/** What `from` says to `to` in one conversation, without end; every fifth byte needs escaping. */
function speech(from: string, to: string, length: number): Buffer {
  const seed = createHash('sha256').update(`${from} ${to}`).digest();
  return Buffer.from(
    Array.from({ length }, (_, at) => (at % 5 === 0 ? ESCAPE : (seed[at % seed.length] as number))),
  );
}

/** Who is at one end of the line: a process after the other, or one that begins anew. */
class End {
  readonly in: Pipe;
  readonly out: Pipe;
  readonly #random: Random;
  readonly #nonces: () => string;
  #decoder = new LineDecoder();
  own = '';
  heard: string | undefined;
  first = false;
  sent = 0;
  received = 0;
  conversation!: Conversation;
  over: ConversationEnd[] = [];

  constructor(into: Pipe, out: Pipe, random: Random, nonces: () => string) {
    this.in = into;
    this.out = out;
    this.#random = random;
    this.#nonces = nonces;
  }

  begin(): void {
    this.own = this.#nonces();
    this.heard = undefined;
    this.sent = 0;
    this.received = 0;
    this.#decoder = new LineDecoder();
    let lastHeard = '';
    this.conversation = new Conversation(this.own, {
      onSend: (message) => {
        lastHeard = message.heard;
        // A line that nobody reads takes no more hellos; the timer has another one.
        if (this.conversation.state === 'greeting' && this.#random(3) === 0) return;
        this.out.push(encodeLineMessage(message));
      },
      onAgreed: (first) => {
        this.heard = lastHeard;
        this.first = first;
      },
      onOver: (end) => this.over.push(end),
    });
    this.conversation.greet();
  }

  get agreed(): boolean {
    return this.conversation.state === 'agreed';
  }

  say(count: number): void {
    if (!this.agreed) return;
    const bytes = speech(this.own, this.heard as string, this.sent + count).subarray(this.sent);
    this.sent += count;
    this.out.push(encodeLineBytes(bytes));
  }

  /** @returns what is wrong with what has come */
  hear(count: number): string | undefined {
    const memory = this.in.take(count);
    let at = 0;
    while (at < memory.length) {
      const { length, next, message } = this.#decoder.decode(memory, at, memory.length);
      if (length > 0 && this.agreed) {
        const end = this.received + length;
        const due = speech(this.heard as string, this.own, end).subarray(this.received);
        if (!due.equals(memory.subarray(at, at + length))) return `bytes that ${this.heard} has not said`;
        this.received = end;
      }
      if (message) this.conversation.handle(message);
      at = next;
      if (this.conversation.state === 'over') {
        this.begin();
        return undefined;
      }
    }
    return undefined;
  }
}

/** Bytes of which many look like the beginning of a message, or are one of long ago. */
function junk(random: Random): Buffer {
  const alphabet = [ESCAPE, 0, 0x48, 0x42, 0x30, 0x61];
  const bytes = Buffer.from(Array.from({ length: random(60) }, () => alphabet[random(6)] as number));
  return Buffer.concat([
    bytes,
    encodeLineMessage({ kind: 'hello', own: C, heard: A }).subarray(0, random(43)),
  ]);
}

t.test(
  'whatever the line still carries or has lost, the two ends agree, and hear only each other',
  async (t) => {
    let conversations = 0;
    for (let seed = 0; seed < 400; seed++) {
      const next = randomFrom(seed);
      const random: Random = (limit) => Math.floor(next() * limit);
      let made = 0;
      const nonces = (): string =>
        createHash('sha256').update(`${seed} ${made++}`).digest('hex').slice(0, 16);
      const [up, down] = [new Pipe(), new Pipe()];
      const ends = [new End(down, up, random, nonces), new End(up, down, random, nonces)] as const;
      for (const end of ends) end.begin();
      const step = (operation: number, at: 0 | 1): string | undefined => {
        const [end, other] = [ends[at], ends[1 - at] as End];
        if (operation < 5) return end.hear(1 + random(operation === 0 ? 3 : 100));
        if (operation < 8) end.say(random(50));
        else if (operation === 8) end.conversation.greet();
        else if (operation === 9) {
          // A restart: of what it sent the end may be lost, and of what is sent to it the beginning.
          if (random(3) === 0) end.conversation.leave();
          if (random(2) === 0) end.out.bytes = end.out.bytes.subarray(0, random(end.out.bytes.length + 1));
          if (random(2) === 0) end.in.take(random(end.in.bytes.length + 1));
          if (!other.agreed && random(2) === 0) end.out.bytes = junk(random);
          end.begin();
        }
        return undefined;
      };
      for (let count = 0; count < 200; count++) {
        const wrong = step(random(10), random(2) as 0 | 1);
        if (wrong !== undefined) throw new Error(`seed ${seed}, step ${count}: ${wrong}`);
      }
      // What is asked of it: left alone, with some hellos, it comes to an agreement.
      const settled = (): boolean =>
        ends.every((end, at) => end.agreed && end.heard === ends[1 - at]?.own && end.in.bytes.length === 0);
      for (let round = 0; round < 50 && !settled(); round++)
        for (const end of ends) {
          const wrong = end.hear(end.in.bytes.length);
          if (wrong !== undefined) throw new Error(`seed ${seed}, at the end: ${wrong}`);
          end.conversation.greet();
        }
      if (!settled()) throw new Error(`seed ${seed}: no agreement`);
      if (ends[0].first === ends[1].first)
        throw new Error(`seed ${seed}: both are ${ends[0].first ? '' : 'not '}first`);
      for (const end of ends) end.say(500);
      for (const end of ends) {
        const wrong = end.hear(end.in.bytes.length);
        if (wrong !== undefined) throw new Error(`seed ${seed}, afterwards: ${wrong}`);
      }
      if (ends[0].received !== ends[1].sent || ends[1].received !== ends[0].sent)
        throw new Error(`seed ${seed}: bytes are missing`);
      conversations += made;
    }
    t.ok(conversations > 4000, `${conversations} conversations`);
  },
);
