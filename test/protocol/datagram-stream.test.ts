import fc from 'fast-check';
import t from 'tap';
import {
  DATAGRAM_BUDGET_BYTES,
  DatagramBudget,
  MAX_QUEUED_DATAGRAM_BYTES,
  QUEUED_DATAGRAM_OVERHEAD_BYTES,
} from '../../protocol/datagram-stream.js';
import type { Stream } from '../../protocol/stream.js';
import { MAX_DATAGRAM_BYTES } from '../../protocol/wire/datagram.js';
import type { Destination } from '../../protocol/wire/destination.js';
import { DatagramRecorder } from '../fixtures/datagram-recorder.js';
import { randomFrom } from './fixtures/memory-link.js';
import { connect, everything, type Pair, Solo, write } from './fixtures/recording.js';

const DNS: Destination = { proto: 'udp', ip: '127.0.0.1', port: 53 };
const OVER = { code: 'IDLE', message: 'no datagram for 90 s' };

function accept(stream: Stream, budget?: DatagramBudget): DatagramRecorder {
  return new DatagramRecorder(
    () => {},
    (handler) => {
      stream.accept(handler);
      return stream;
    },
    budget,
  );
}

/** A flow between two ends; `b` accepts it when it is told to. */
function join(
  pair: Pair,
  budget?: DatagramBudget,
): { atA: DatagramRecorder; accept: () => DatagramRecorder } {
  const atA = new DatagramRecorder(
    () => {},
    (handler) => pair.a.multiplexer.open(DNS, handler),
    budget,
  );
  let opened: Stream | undefined;
  pair.b.owner.accept = (stream) => {
    opened = stream;
  };
  pair.run();
  return {
    atA,
    accept: () => {
      if (!opened) throw new Error('nothing was opened');
      return accept(opened);
    },
  };
}

function settle(pair: Pair): Promise<void> {
  return new Promise((resolve) =>
    setImmediate(() => {
      pair.run();
      resolve();
    }),
  );
}

t.test('datagrams pass in both directions, whatever the link does', async () => {
  const sizes = fc.array(fc.oneof(fc.nat(300), fc.constant(0), fc.constant(MAX_DATAGRAM_BYTES)), {
    maxLength: 6,
  });
  await fc.assert(
    fc.asyncProperty(fc.nat(), sizes, sizes, fc.boolean(), async (seed, up, down, plain) => {
      const pair = connect(randomFrom(seed), plain ? { features: [] } : {});
      const { atA, accept } = join(pair);
      const send = (from: DatagramRecorder, list: readonly number[]): void => {
        for (const [index, size] of list.entries()) from.send(Buffer.alloc(size, index + 1));
      };
      const few = (list: readonly number[]): number[] => list.slice(0, 3);
      send(atA, few(up));
      pair.run(10);
      const atB = accept();
      send(atB, few(down));
      await settle(pair);
      const right = (to: DatagramRecorder, list: readonly number[]): boolean =>
        to.received.length === list.length &&
        to.received.every(
          (payload, index) => payload.length === list[index] && payload.every((byte) => byte === index + 1),
        );
      if (!right(atB, few(up)) || !right(atA, few(down))) return false;
      atA.datagrams.end(OVER);
      await settle(pair);
      return atB.end !== undefined && pair.a.multiplexer.streams.size === 0;
    }),
    { seed: 3, numRuns: 60 },
  );
});

t.test('what a stream does not take waits, and is dropped and counted beyond the bound', async (t) => {
  const pair = connect(randomFrom(1), { features: [] });
  const { atA, accept } = join(pair);
  const sent = 20;
  for (let index = 0; index < sent; index++) atA.send(Buffer.alloc(30_000, index));
  const waiting = Math.floor(MAX_QUEUED_DATAGRAM_BYTES / (30_000 + QUEUED_DATAGRAM_OVERHEAD_BYTES));
  t.equal(atA.dropped, sent - 1 - waiting);
  const atB = accept();
  await settle(pair);
  t.same(
    atB.received.map((payload) => payload[0]),
    Array.from({ length: waiting + 1 }, (_, index) => index),
    'the oldest are kept, in order',
  );
  t.equal(atA.datagrams.bytesSent, 30_000 * (waiting + 1));
  t.equal(atB.datagrams.bytesReceived, atA.datagrams.bytesSent);
  t.equal(atB.firsts, 1);
});

t.test('empty datagrams are bounded, too', async (t) => {
  const { atA } = join(connect(randomFrom(1), { features: [] }));
  for (let index = 0; index < 5000; index++) atA.send('');
  t.equal(atA.dropped, 5000 - 1 - MAX_QUEUED_DATAGRAM_BYTES / QUEUED_DATAGRAM_OVERHEAD_BYTES);
});

t.test('all streams share a budget, which they give back at their end', async (t) => {
  const budget = new DatagramBudget();
  const rest = 1000;
  t.ok(budget.take(DATAGRAM_BUDGET_BYTES - rest));
  const pair = connect(randomFrom(1), { features: [] });
  const { atA } = join(pair, budget);
  for (let index = 0; index < 5; index++) atA.send(Buffer.alloc(100));
  const fitting = Math.floor(rest / (100 + QUEUED_DATAGRAM_OVERHEAD_BYTES));
  t.equal(atA.dropped, 4 - fitting);
  t.notOk(budget.take(rest));
  atA.datagrams.end(OVER);
  t.equal(atA.dropped, 4, 'what waited was dropped with it');
  t.ok(budget.take(rest));
});

t.test('after the end everything is dropped, and nobody hears of it', async (t) => {
  const pair = connect(randomFrom(1));
  const { atA, accept } = join(pair);
  atA.send('one');
  atA.send('two, of the same read');
  pair.run();
  const atB = accept();
  let heard = 0;
  atB.onDatagram = () => {
    heard++;
    atB.datagrams.end(OVER);
  };
  await settle(pair);
  t.equal(heard, 1);
  t.match(atA.end, { how: 'reset', reason: OVER });
  atA.send('three');
  t.equal(atA.dropped, 1);
  atA.datagrams.end(OVER);
  atA.datagrams.onClosed({ how: 'closed' });
  atA.send(Buffer.alloc(MAX_DATAGRAM_BYTES + 1));
  t.match(atA.end, { how: 'reset' });
  t.equal(pair.b.multiplexer.streams.size, 0);
});

t.test('a datagram that is larger than any is dropped', async (t) => {
  const { atA } = join(connect(randomFrom(1)));
  atA.send(Buffer.alloc(MAX_DATAGRAM_BYTES + 1));
  t.equal(atA.dropped, 1);
});

t.test('a half-close ends the other direction, too', async (t) => {
  const pair = connect(randomFrom(1));
  const { atA, accept } = join(pair);
  const atB = accept();
  atA.datagrams.stream.shutdown();
  await settle(pair);
  t.same([atA.end, atB.end], [{ how: 'closed' }, { how: 'closed' }]);
});

t.test('bytes that are no datagrams reset the stream, and nothing else', async (t) => {
  for (const features of [everything, 'plain'] as const) {
    const pair = connect(randomFrom(1), features === 'plain' ? { features: [] } : {});
    const { atA, accept } = join(pair);
    const atB = accept();
    atA.send('good');
    atB.send('answer');
    await settle(pair);
    write(atA.datagrams.stream, Buffer.from('0a00000000000000000001000000', 'hex'));
    await settle(pair);
    write(atA.datagrams.stream, Buffer.from('ffff', 'hex'));
    await settle(pair);
    t.same(atB.texts, ['good', '']);
    t.match(atB.end, { how: 'reset', reason: { code: 'BAD_DATAGRAM', message: /its total is 1 bytes/ } });
    t.match(atA.end, { how: 'reset' });
    t.same(pair.a.owner.ends, []);
  }
});

t.test('what its owner throws at a datagram is no fault of the peer', async (t) => {
  const pair = connect(randomFrom(1));
  const { atA, accept } = join(pair);
  const bug = new TypeError('a bug');
  accept().onDatagram = () => {
    throw bug;
  };
  atA.send('good');
  await settle(pair);
  t.match(pair.b.owner.ends, [{ code: 'INTERNAL', message: 'a bug' }]);
  t.equal(pair.b.owner.causes[0], bug);
});

t.test('an end that has no channel is told', async (t) => {
  const end = new Solo(everything);
  const flow = new DatagramRecorder(
    () => {},
    (handler) => end.multiplexer.open(DNS, handler),
  );
  end.link.cut();
  t.match(flow.end, { how: 'lost' });
});
