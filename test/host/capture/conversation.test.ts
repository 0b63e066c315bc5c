import fc from 'fast-check';
import t from 'tap';
import { MAX_HELD_BYTES as MAX_HELD_OF_ALL } from '../../../host/capture/capture.js';
import { MAX_HELD_BYTES } from '../../../host/capture/conversation.js';
import { clientFailed, endedByHost, streamEnded } from '../../../host/records/ending.js';
import { Bench, CLIENT, finished, NOBODY, outline, segmentsOf } from './fixtures/captured.js';

const REFUSED = streamEnded(
  {
    how: 'refused',
    result: { step: 'dial', micros: 1500, reason: { code: 'ECONNREFUSED', message: 'nobody there' } },
  },
  'tcp 127.0.0.1:80',
);
const RESET = streamEnded({ how: 'reset', reason: { code: 'ECONNRESET', message: 'read' } }, '');

t.test('a request and its answer, from SYN to the last acknowledgement', async (t) => {
  const bench = new Bench();
  const capture = bench.start();
  const connection = bench.connect().open().client('hello').dialled().server('world');
  connection.tap?.clientEnded();
  connection.tap?.serverEnded();
  connection.end();
  const read = await finished(capture);
  const names = ['> S', '< SA', '> A', '> AP 5', '< A', '< AP 5', '> A', '> AF', '< A', '< AF', '> A'];
  t.same(outline(read), names);
  const segments = segmentsOf(read);
  t.same([segments[0]?.from, segments[0]?.to], ['127.0.0.1:50000', '127.0.0.1:8080']);
  for (const { from, sequence, acknowledged, flags } of segments.slice(1)) {
    const others = segments.filter((other) => other.from !== from);
    const ends = others.map(
      (other) => (other.sequence + other.payload.length + (/S|F/.test(other.flags) ? 1 : 0)) >>> 0,
    );
    t.ok(ends.includes(acknowledged), `${flags} ${sequence} acknowledges what was sent`);
  }
  t.same(
    read.packets.flatMap(({ comments }) => comments),
    [
      'connection 1: tcp localhost:8080 → tcp 127.0.0.1:80; client 127.0.0.1:50000',
      'connection 1 ended: --: the client ended the connection',
    ],
  );
  t.match(read, {
    linkType: 101,
    name: 'portferry-8080',
    received: 11,
    dropped: 0,
    endComments: ['the test is over'],
  });
});

t.test('the server ends first: the last acknowledgement is the server’s', async (t) => {
  const bench = new Bench();
  const capture = bench.start();
  const connection = bench.connect().open().dialled();
  connection.tap?.serverEnded();
  connection.tap?.clientEnded();
  connection.end();
  t.same(outline(await finished(capture)), ['> S', '< SA', '> A', '< AF', '> A', '> AF', '< A']);
});

t.test('a dial that failed is a SYN and an RST that says why', async (t) => {
  const bench = new Bench();
  const capture = bench.start();
  bench.connect().open().client('hello').end(REFUSED);
  const read = await finished(capture);
  t.same(outline(read), ['> S', '< AR']);
  t.same(read.packets[1]?.comments, [
    'the client had sent 5 bytes, which nobody has got',
    'connection 1 ended: SC ECONNREFUSED: the guest could not reach tcp 127.0.0.1:80: ECONNREFUSED (nobody there) after 1.5 ms',
  ]);
});

t.test('who breaks a connection sends the RST', async (t) => {
  const bench = new Bench();
  const capture = bench.start();
  bench.connect().open().dialled().server('x').end(RESET);
  bench
    .connect()
    .open()
    .dialled()
    .client('x')
    .end(clientFailed({ code: 'ECONNRESET', message: 'read' }));
  bench.connect().end(endedByHost({ code: 'EMFILE', message: 'too many' }));
  const half = bench.connect().open().dialled();
  half.tap?.serverEnded();
  half.end();
  const read = await finished(capture);
  t.same(outline(read), [
    ...['> S', '< SA', '> A', '< AP 1', '> A', '< AR'],
    ...['> S', '< SA', '> A', '> AP 1', '< A', '> AR'],
    ...['> S', '< AR'],
    ...['> S', '< SA', '> A', '< AF', '> A', '< AR'],
  ]);
});

t.test('a plain guest does not tell of its dial: data and ends show it', async (t) => {
  const bench = new Bench();
  const capture = bench.start();
  const early = bench.connect().open().client('a');
  early.tap?.clientEnded();
  early.server('b');
  early.dialled();
  early.tap?.serverEnded();
  early.end();
  bench.connect().open().client(Buffer.alloc(60_000)).client(Buffer.alloc(10_000)).dialled();
  const silent = bench.connect().open();
  silent.tap?.clientEnded();
  silent.end();
  bench.connect().open().client('kept back until the end');
  const read = await finished(capture);
  t.same(outline(read), [
    ...['> S', '< SA', '> A', '> AP 1', '< A', '> AF', '< A', '< AP 1', '> A', '< AF', '> A'],
    ...['> S', '< SA', '> A', '> AP 60000', '< A', '> AP 10000', '< A'],
    ...['> S', '< SA', '> A', '> AF', '< A', '< AR'],
    ...['> S', '< SA', '> A', '> AP 23', '< A'],
  ]);
});

t.test('what waits for dials is bounded', async (t) => {
  const bench = new Bench();
  const capture = bench.start();
  const each = MAX_HELD_BYTES;
  const connections = MAX_HELD_OF_ALL / each + 6;
  for (let count = 0; count < connections; count++) bench.connect().open().client(Buffer.alloc(each));
  t.equal(
    (await finished(capture)).received,
    connections * 6,
    'all of it is there, the last without having waited',
  );
});

t.test('a connection that is there already is taken up in the middle', async (t) => {
  const bench = new Bench();
  const before = bench.connect().open().dialled().client('12345').server('123');
  const waiting = bench.connect();
  const capture = bench.start();
  before.server('45');
  waiting.open().dialled();
  const read = await finished(capture);
  t.same(outline(read), ['> S', '< AP 2', '> A', '< SA', '> A']);
  const [, data, acknowledgement] = segmentsOf(read);
  t.equal((acknowledgement?.acknowledged ?? 0) - (data?.sequence ?? 0), 2);
  t.match(
    read.packets[1]?.comments[1],
    /^taken up in the middle: it began at \S+, before this capture; 5 bytes of the client and 3 of the server went before$/,
  );
  t.equal(before.tap, undefined, 'nobody looks any more');
});

t.test('unix sockets get addresses, and say so', async (t) => {
  const bench = new Bench('unix:/tmp/a.sock:/tmp/b.sock');
  const capture = bench.start({ of: 'unix:/tmp/a.sock' });
  bench.connect(NOBODY).open().dialled().end(RESET);
  const read = await finished(capture);
  t.same(
    segmentsOf(read)
      .map(({ from }) => from)
      .slice(0, 2),
    ['192.0.2.1:1025', '192.0.2.2:1'],
  );
  t.same(read.packets[0]?.comments[1], 'the addresses are made up: a unix socket has none');
  t.match(
    read.packets.at(-1)?.comments,
    [
      'a unix socket has no RST: its other end has seen the end of the data, or an error',
      /SD ECONNRESET/,
    ].reverse(),
  );
});

t.test(
  'any payload in is the same payload out, with right numbers and checksums, in both versions of IP',
  async (t) => {
    const piece = fc.record({
      fromClient: fc.boolean(),
      bytes: fc.oneof(
        { weight: 9, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 300 }) },
        {
          weight: 1,
          arbitrary: fc.nat(200_000).map((length) => new Uint8Array(length + 1).fill(length & 255)),
        },
      ),
    });
    const six = { client: { ip: '::1', port: 50_000 }, listener: { ip: '::1', port: 8080 } };
    const property = fc.asyncProperty(
      fc.array(piece, { maxLength: 20 }),
      fc.boolean(),
      async (pieces, version6) => {
        const bench = new Bench();
        const capture = bench.start();
        const connection = bench
          .connect(version6 ? six : CLIENT)
          .open()
          .dialled();
        for (const { fromClient, bytes } of pieces) {
          if (fromClient) connection.client(Buffer.from(bytes));
          else connection.server(Buffer.from(bytes));
        }
        const read = await finished(capture);
        const next: Record<string, number> = {};
        const seen: Record<string, Buffer[]> = { client: [], server: [] };
        for (const { from, sequence, flags, payload } of segmentsOf(read)) {
          if (next[from] !== undefined && next[from] !== sequence)
            throw new Error(`a hole before ${sequence}`);
          next[from] = (sequence + payload.length + (flags.includes('S') ? 1 : 0)) >>> 0;
          seen[from.endsWith(':50000') ? 'client' : 'server']?.push(payload);
        }
        for (const [who, fromClient] of [
          ['client', true],
          ['server', false],
        ] as const) {
          const sent = Buffer.concat(
            pieces.filter((one) => one.fromClient === fromClient).map(({ bytes }) => bytes),
          );
          if (!Buffer.concat(seen[who] ?? []).equals(sent)) throw new Error(`the ${who}'s bytes differ`);
        }
      },
    );
    await fc.assert(property, { seed: 7, numRuns: 60 });
    t.pass('as many sequences as were tried');
  },
);

t.test('datagrams of a flow', async (t) => {
  const bench = new Bench('53:53/udp');
  const joined = bench.connect().open();
  const capture = bench.start({ of: '53/udp' });
  const flow = bench.connect().open();
  flow.client('question').server('').dialled();
  flow.tap?.clientEnded();
  flow.tap?.serverEnded();
  flow.end(endedByHost({ code: 'IDLE', message: 'no datagram for 90 s' }, 'closed'));
  joined.client(Buffer.alloc(65_507, 'x'));
  bench
    .connect({ client: CLIENT.client, listener: { ip: '::', port: 53 } })
    .open()
    .client('6');
  bench.connect().open().end(REFUSED);
  const read = await finished(capture);
  t.same(
    segmentsOf(read).map(({ payload }) => payload.length),
    [8, 0, 65_507, 1],
  );
  t.same(
    read.packets.map(({ comments }) => comments),
    [
      ['flow 2: udp localhost:53 → udp 127.0.0.1:53; client 127.0.0.1:50000'],
      [],
      [
        'flow 2 ended: HD IDLE: no datagram for 90 s',
        'flow 1: udp localhost:53 → udp 127.0.0.1:53; client 127.0.0.1:50000',
        'taken up in the middle: it began before this capture',
      ],
      [
        'flow 3: udp localhost:53 → udp 127.0.0.1:53; client 127.0.0.1:50000',
        'the addresses are made up: one of them is not known',
      ],
    ],
  );
  t.match(read.endComments, ['the test is over', /^flow 4 ended: SC ECONNREFUSED: /]);
});

t.test('a checksum that would be 0 says that there is none: it is written in its other form', async (t) => {
  const bench = new Bench('53:53/udp');
  const capture = bench.start({ of: '53/udp' });
  const flow = bench.connect().open();
  const payload = Buffer.alloc(2);
  for (let value = 0; value <= 0xffff; value += 0x10) {
    payload.writeUInt16BE(value);
    flow.client(payload);
  }
  const whole = await finished(capture);
  const [first] = whole.packets;
  // What is missing to the sum of all ones, which the complement of is 0.
  const missing = (first?.bytes.readUInt16BE(26) ?? 0) + (first?.bytes.readUInt16BE(28) ?? 0);
  const again = bench.start({ of: '53/udp' });
  payload.writeUInt16BE(missing);
  flow.client(payload);
  const [zero] = (await finished(again)).packets;
  t.equal(zero?.bytes.readUInt16BE(26), 0xffff);
  t.ok(segmentsOf(whole).length > 0);
});
