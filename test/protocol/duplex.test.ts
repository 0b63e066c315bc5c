import { once } from 'node:events';
import http from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import t, { type Test } from 'tap';
import { StreamDuplex } from '../../protocol/duplex.js';
import type { Stream } from '../../protocol/stream.js';
import { WINDOW_BUDGET_BYTES } from '../../protocol/window.js';
import { EARLY_DATA_BYTES } from '../../protocol/wire/extension.js';
import { encodeOpen } from '../../protocol/wire/frame.js';
import { closeFrame, dataFrame, shutdownFrame, windowFrame } from './fixtures/frames.js';
import { randomFrom, run } from './fixtures/memory-link.js';
import { connect, everything, type Pair, Solo, withoutEarlyData } from './fixtures/recording.js';

const SERVICE = { proto: 'unix', path: 'portferry:control' } as const;
const TOP = 0xffff_ffff;

/** Two ends whose link runs by itself, and a way to open a Duplex that `serve` gets the other side of. */
function setup(t: Test, serve: (duplex: Duplex) => void): Pair & { dial(): StreamDuplex } {
  const random = randomFrom(21);
  const pair = connect(random);
  const { a, b } = pair;
  let running = true;
  const loop = (): void => {
    run(random, [a.link, b.link], 100);
    if (running) setImmediate(loop);
  };
  loop();
  t.teardown(() => {
    running = false;
  });
  b.owner.accept = (stream) => serve(new StreamDuplex(accepting(stream)));
  return {
    ...pair,
    dial: () => new StreamDuplex((handler) => a.multiplexer.open(SERVICE, handler)),
  };
}

function accepting(stream: Stream): ConstructorParameters<typeof StreamDuplex>[0] {
  return (handler) => {
    stream.accept(handler);
    return stream;
  };
}

/** All that comes until the end. An async iterator would not do: it destroys a Duplex when its one side ends. */
async function textOf(readable: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  readable.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(readable, 'end');
  return Buffer.concat(chunks).toString();
}

t.test('HTTP/1.1 over streams, with bodies larger than any window', async (t) => {
  const server = http.createServer(async (request, response) => {
    const body = await textOf(request);
    response.writeHead(200, { 'x-url': request.url });
    response.end(body.toUpperCase());
  });
  const { a, b, dial } = setup(t, (duplex) => server.emit('connection', duplex));
  for (const size of [0, 10, 1_000_000]) {
    const request = http.request({ path: `/${size}`, method: 'PUT', createConnection: () => dial() });
    request.end('x'.repeat(size));
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    t.equal(response.headers['x-url'], `/${size}`);
    t.equal(await textOf(response), 'X'.repeat(size));
  }
  await Promise.all(
    [a, b].map(async (end) => {
      while (end.multiplexer.streams.size > 0) await new Promise(setImmediate);
      t.equal(end.multiplexer.budget.free, WINDOW_BUDGET_BYTES);
    }),
  );
});

t.test('each direction ends by itself', async (t) => {
  const { dial } = setup(t, async (duplex) => {
    const heard = await textOf(duplex);
    duplex.end(`heard ${heard}`);
  });
  const duplex = dial();
  duplex.write('one ');
  duplex.write(Buffer.alloc(0));
  duplex.end('two');
  t.equal(await textOf(duplex), 'heard one two');
  await finished(duplex);
});

t.test('a reader that stops stops the writer', async (t) => {
  let served: Duplex | undefined;
  const { dial } = setup(t, (duplex) => {
    served = duplex;
  });
  const duplex = dial();
  const COUNT = 200;
  let sent = 0;
  const write = (): void => {
    while (sent < COUNT) {
      sent++;
      if (!duplex.write(Buffer.alloc(50_000, 'x'))) {
        duplex.once('drain', write);
        return;
      }
    }
    duplex.end();
  };
  write();
  for (let turns = 0; turns < 200; turns++) await new Promise(setImmediate);
  t.ok(sent < 20, `${sent} writes while nobody reads`);
  if (!served) throw new Error('not served');
  t.equal((await textOf(served)).length, COUNT * 50_000);
});

t.test('destroy resets the stream, with the reason; the other side gets it as an error', async (t) => {
  let served: Duplex | undefined;
  const { dial } = setup(t, (duplex) => {
    served = duplex;
    duplex.on('error', () => {});
  });
  for (const [error, message] of [
    [new Error('the handler failed'), 'the handler failed'],
    [undefined, 'the service gave the stream up'],
  ] as const) {
    const duplex = dial();
    duplex.on('error', () => {});
    duplex.write('x');
    while (!served) await new Promise(setImmediate);
    const failed = once(served, 'error');
    served.resume();
    duplex.destroy(error);
    const [got] = (await failed) as [Error];
    t.equal(got.message, message);
    served = undefined;
  }
});

t.test('a refused stream is an error, with the reason where there is one', async (t) => {
  const { b, dial } = setup(t, () => {});
  b.owner.accept = (stream) => stream.refuse('service', { code: 'ENOENT', message: 'no such service' });
  await t.rejects(once(dial(), 'data'), { message: 'no such service' });

  const plain = new Solo('plain');
  const duplex = new StreamDuplex((handler) => plain.multiplexer.open(SERVICE, handler));
  const failed = t.rejects(once(duplex, 'data'), { message: 'the peer refused the stream' });
  plain.receive(closeFrame(TOP));
  await failed;
});

t.test('a channel that ends is an error, and the write under way is over', async (t) => {
  const plain = new Solo('plain');
  const duplex = new StreamDuplex((handler) => plain.multiplexer.open(SERVICE, handler));
  duplex.on('error', () => {});
  const written = new Promise<Error | null | undefined>((resolve) => duplex.write('x', resolve));
  plain.multiplexer.fail({ code: 'CHANNEL_CLOSED', message: 'the guest went away' });
  t.match(await written, { message: 'the guest went away' });
  t.equal(duplex.destroyed, true);
});

t.test('destroy without an error: the write under way has failed all the same', async (t) => {
  const plain = new Solo('plain');
  const duplex = new StreamDuplex((handler) => plain.multiplexer.open(SERVICE, handler));
  const written = new Promise<Error | null | undefined>((resolve) => duplex.write('x', resolve));
  duplex.destroy();
  t.match(await written, { message: /given up before this was sent/ });
});

for (const [name, features, answer] of [
  ['with early data', everything, 'x'.repeat(EARLY_DATA_BYTES + 1)],
  ['without', withoutEarlyData, 'answer'],
] as const)
  t.test(`a peer that closes in order while a write waits: the writer goes on, ${name}`, async (t) => {
    const solo = new Solo(features);
    const duplexes: StreamDuplex[] = [];
    solo.owner.accept = (stream) => duplexes.push(new StreamDuplex(accepting(stream)));
    solo.receive(encodeOpen(4, SERVICE));
    if (features === withoutEarlyData) solo.receive(windowFrame(4, 1));
    const duplex = duplexes[0];
    if (!duplex) throw new Error('not accepted');
    let waits = true;
    const written = new Promise<void>((resolve) =>
      duplex.write(answer, () => {
        waits = false;
        resolve();
      }),
    );
    await new Promise(setImmediate);
    t.equal(waits, true);
    solo.receive(shutdownFrame(4), closeFrame(4));
    await written;
    duplex.end('more');
    t.equal(await textOf(duplex), '', 'what came can be read');
    await finished(duplex);
    t.equal(solo.multiplexer.streams.size, 0);
  });

t.test('a request that came before the service took the stream is read from its beginning', async (t) => {
  const solo = new Solo(everything);
  solo.owner.accept = () => {};
  solo.receive(encodeOpen(4, SERVICE), dataFrame(4, Buffer.from('early ')));
  const [stream] = solo.owner.streams;
  if (!stream) throw new Error('not opened');
  const duplex = new StreamDuplex(accepting(stream));
  const heard = textOf(duplex);
  solo.receive(dataFrame(4, Buffer.from('and late')), shutdownFrame(4));
  t.equal(await heard, 'early and late');
  duplex.end();
  await once(duplex, 'finish');
  t.same(solo.sent, ['shutdown 4', 'close 4']);
});

t.test('onOpenResult means nothing to a service', async (t) => {
  const { a, b, dial } = setup(t, () => {});
  b.owner.accept = (stream) => {
    const served = new StreamDuplex(accepting(stream));
    stream.reportConnected(5);
    served.end('hi');
    served.resume();
  };
  const duplex = dial();
  duplex.end();
  t.equal(await textOf(duplex), 'hi');
  t.same(a.owner.ends, []);
});

t.test('what nobody reads yet costs its bytes, in however many pieces it came', async (t) => {
  const solo = new Solo(everything);
  const duplex = new StreamDuplex((handler) => solo.multiplexer.open(SERVICE, handler));
  for (let count = 0; count < EARLY_DATA_BYTES; count++) solo.receive(dataFrame(TOP, Buffer.from('x')));
  solo.receive(shutdownFrame(TOP));
  t.equal(duplex.readableLength, 0, 'the pieces are not kept one by one');
  const chunks: Buffer[] = [];
  duplex.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(duplex, 'end');
  t.same(
    chunks.map((chunk) => chunk.toString()),
    ['x'.repeat(EARLY_DATA_BYTES)],
  );
});

t.test('a reader gets pieces in its turn, and nothing when the stream was given up meanwhile', async (t) => {
  const solo = new Solo('plain');
  const turns: (() => void)[] = [];
  const duplexes: StreamDuplex[] = [];
  solo.owner.accept = (stream) =>
    duplexes.push(new StreamDuplex(accepting(stream), (give) => turns.push(give)));
  solo.receive(encodeOpen(4, SERVICE));
  const [duplex] = duplexes as [StreamDuplex];
  const got: number[] = [];
  duplex.on('data', (piece: Buffer) => got.push(piece.length));
  await new Promise(setImmediate);
  t.match(solo.sent.join(), /window 4 65536/);
  solo.receive(dataFrame(4, Buffer.alloc(40_000)));
  solo.receive(shutdownFrame(4));
  t.same(got, []);
  let ended = false;
  duplex.on('end', () => {
    ended = true;
  });
  for (let turn = 0; turn < 3; turn++) {
    t.equal(turns.length, turn + 1, 'one turn is asked for at a time');
    turns[turn]?.();
    await new Promise(setImmediate);
  }
  t.same(got, [16_384, 16_384, 7_232]);
  t.ok(ended);

  solo.receive(encodeOpen(5, SERVICE));
  const [, other] = duplexes as [StreamDuplex, StreamDuplex];
  other.on('error', () => {}).on('data', () => t.fail('it was given up'));
  await new Promise(setImmediate);
  t.match(solo.sent.join(), /window 5 /);
  solo.receive(dataFrame(5, Buffer.from('x')));
  other.destroy();
  turns[3]?.();
  t.equal(turns.length, 4);
});
