import t, { type Test } from 'tap';
import {
  MAX_LEASE_BODY_BYTES,
  MAX_LEASE_MEMORY_BYTES,
  MAX_LEASE_REQUESTS,
  REQUEST_BYTES,
} from '../../../host/control/lease-server.js';
import { JSON_VALUE_BYTES } from '../../../protocol/bounded-json.js';
import { StreamDuplex } from '../../../protocol/duplex.js';
import { LEASE_RESOURCE } from '../../../protocol/services/control.js';
import type { Stream } from '../../../protocol/stream.js';
import { chooseFreePorts } from '../../fixtures/free-ports.js';
import { LeaseHost, port } from '../../fixtures/leases.js';
import { DEBUG } from '../../fixtures/log-recorder.js';
import { randomFrom } from '../../protocol/fixtures/memory-link.js';
import type { End } from '../../protocol/fixtures/recording.js';

const SERVICE = { proto: 'unix', path: 'portferry:control' } as const;

/** A stream to the service, with what has come out of it. */
class Client {
  readonly duplex: StreamDuplex;
  text = '';
  error: Error | undefined;

  constructor(guest: End) {
    this.duplex = new StreamDuplex((handler) => guest.multiplexer.open(SERVICE, handler));
    this.duplex.setEncoding('utf8').on('data', (chunk) => {
      this.text += chunk;
    });
    this.duplex.on('error', (error) => {
      this.error = error;
    });
  }

  send(method: string, path: string, body: unknown, more = ''): void {
    const payload = typeof body === 'string' ? body : JSON.stringify(body);
    const length = Buffer.byteLength(payload);
    this.duplex.write(
      `${method} ${path} HTTP/1.1\r\nhost: h\r\n${more}content-length: ${length}\r\n\r\n${payload}`,
    );
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise(setImmediate);
  }

  /** Resolves to the last of `count` answers. */
  async answer(count: number): Promise<{ status: number; body: string }> {
    let looked = -1;
    let last: RegExpMatchArray | undefined;
    const whole = (): boolean => {
      if (looked === this.text.length) return false;
      looked = this.text.length;
      last = [...this.text.matchAll(/HTTP\/1\.1 (\d+) [^\r]*\r\n/g)][count - 1];
      if (!last) return false;
      const [head = '', ...rest] = this.text.slice(last.index).split('\r\n\r\n');
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      return Buffer.byteLength(rest.join('\r\n\r\n')) >= length;
    };
    await this.until(whole);
    const text = this.text.slice(last?.index);
    return { status: Number(last?.[1]), body: text.slice(text.indexOf('\r\n\r\n') + 4) };
  }
}

async function start(
  t: Test,
  options?: Parameters<typeof LeaseHost.start>[1],
): Promise<{ host: LeaseHost; dial(): Client; guest: End }> {
  const host = await LeaseHost.start(t, options);
  const { guest } = host.channel();
  return { host, guest, dial: () => new Client(guest) };
}

t.test('each stream is a lease: what it asks for goes with it', async (t) => {
  const { host, dial } = await start(t, { allow: ['127.0.0.1'] });
  const [one = 0, two = 0] = await chooseFreePorts(2);
  const [client, other] = [dial(), dial()];
  client.send('PUT', LEASE_RESOURCE, { publisher: 'docker', forwards: [port(one)] });
  t.match(await client.answer(1), { status: 200, body: '{"forwards":[{"state":"listening"}]}' });
  other.send('PUT', '/forwards/expose/port', port(two));
  t.same(JSON.parse((await other.answer(1)).body), port(two));
  for (const [index, [method, path, body, status, answer]] of (
    [
      ['GET', '/forwards/list', '', 200, new RegExp(`^\\[{[^}]*"out_port":${one},[^}]*}\\]$`)],
      ['PUT', '/forwards/expose/port', { ...port(one), out_ip: '0.0.0.0' }, 403, /policy does not allow/],
      ['PUT', '/forwards/expose/pipe', port(one), 400, /exposed pipes can only/],
      ['PUT', '/forwards/expose/port', port(two, 81), 400, /by the forward/],
      ['DELETE', '/forwards/unexpose/port', port(two), 200, /^$/],
      ['GET', '/v1/forwards', '', 404, /there is no GET/],
      [
        'PUT',
        `${LEASE_RESOURCE}?x=${'y'.repeat(100)}`,
        { publisher: 'docker', forwards: [] },
        200,
        /"forwards":\[\]/,
      ],
      ['PUT', LEASE_RESOURCE, 'x', 400, /not valid JSON/],
    ] as const
  ).entries()) {
    client.send(method, path, body);
    const got = await client.answer(index + 2);
    t.equal(got.status, status, path);
    t.match(got.body, answer);
  }
  t.match(client.text, /connection: close/, 'who sends no JSON has lost the thread: its lease ends');
  await host.until((forwards) => forwards.length === 1);
  t.match(host.forwards.list(), [{ id: `tcp 127.0.0.1:${two}`, publisher: 'the guest' }]);
  other.duplex.end();
  await host.until((forwards) => forwards.length === 0);
});

t.test('when the channel ends, all leases do', async (t) => {
  const { host, dial, guest } = await start(t);
  for (const client of [dial(), dial()]) {
    client.send('POST', '/forwards/expose/port', port(0));
    await client.answer(1);
  }
  guest.link.cut();
  await host.until((forwards) => forwards.length === 0);
});

t.test('when the host stops, all leases do, and the guest learns why', async (t) => {
  const { host, dial } = await start(t);
  const client = dial();
  client.send('POST', '/forwards/expose/port', port(0));
  await client.answer(1);
  host.server?.close();
  await client.until(() => client.error !== undefined);
  t.match(client.error, { message: 'the host was told to stop' });
  const late = dial();
  await late.until(() => late.error !== undefined);
  t.match(late.error, { refused: true, code: 'EAGAIN', message: 'the host is stopping' });
});

t.test('few are begun in one turn, and those that end before theirs cost nothing', async (t) => {
  const { host, dial } = await start(t, { maxLeases: 40 });
  const refusals: unknown[] = [];
  let turns = 0;
  const ended = {
    get over() {
      turns++;
      return true;
    },
    refuse: (...why: unknown[]) => void refusals.push(why),
  } as unknown as Stream;
  for (let count = 0; count < 41; count++) host.server?.accept(ended);
  t.match(refusals, [['policy', { code: 'EAGAIN', message: /^the host has 40 leases/ }]]);
  while (turns < 40) await new Promise(setImmediate);
  const clients = Array.from({ length: 40 }, dial);
  for (const client of clients) client.send('GET', '/forwards/list', '');
  for (const client of clients) t.match(await client.answer(1), { status: 200 });
});

t.test('what waits for its turn when the host stops is refused', async (t) => {
  const { host } = await start(t);
  const refusals: unknown[] = [];
  const waiting = { over: false, refuse: (...why: unknown[]) => void refusals.push(why) };
  host.server?.accept(waiting as unknown as Stream);
  host.server?.close();
  await new Promise(setImmediate);
  t.match(refusals, [['policy', { code: 'EAGAIN', message: 'the host is stopping' }]]);
});

t.test("a request of a stream that ends at once is nobody's", async (t) => {
  const { host, dial } = await start(t);
  for (let turns = 0; turns < 12; turns++) {
    const client = dial();
    client.send('GET', '/forwards/list', '');
    await client.answer(1);
    client.send('GET', '/forwards/list', '');
    for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
    client.duplex.destroy();
    await client.until(() => client.duplex.closed);
  }
  const other = dial();
  other.send('GET', '/forwards/list', '');
  t.match(await other.answer(1), { status: 200 });
  await host.until(() => host.leases.report().length <= 1);
});

t.test('there can be only so many', async (t) => {
  const { dial } = await start(t, { maxLeases: 1 });
  const first = dial();
  first.send('GET', '/forwards/list', '');
  await first.answer(1);
  const second = dial();
  await second.until(() => second.error !== undefined);
  t.match(second.error, {
    refused: true,
    code: 'EAGAIN',
    message: 'the host has 1 leases, which are as many as it takes',
  });
});

t.test('requests that nobody waits for the answers of end the lease', async (t) => {
  const { host, dial } = await start(t);
  const client = dial();
  client.send('PUT', LEASE_RESOURCE, { publisher: 'docker', forwards: [port(0)] });
  await client.answer(1);
  const request = JSON.stringify({ publisher: 'docker', forwards: [port(0)] });
  const one = `PUT ${LEASE_RESOURCE} HTTP/1.1\r\nhost: h\r\ncontent-length: ${request.length}\r\n\r\n${request}`;
  client.duplex.write(one.repeat(MAX_LEASE_REQUESTS * 20));
  await client.until(() => client.error !== undefined);
  t.match(client.error, { message: /more than 16 requests at once/ });
  await host.until((forwards) => forwards.length === 0);
});

t.test('bodies are bounded, one and all', async (t) => {
  const { dial } = await start(t);
  const tooLong = dial();
  tooLong.send('PUT', '/forwards/expose/port', { ...port(0), annotation: 'x'.repeat(17_000) });
  t.match(await tooLong.answer(1), { status: 413, body: /too large/ });
  const full = dial();
  full.send('PUT', '/forwards/expose/port', { ...port(0), more: Array(16).fill(0) });
  t.match(await full.answer(1), { status: 400, body: /more than 16 values/ });
  const whole = dial();
  whole.send('PUT', LEASE_RESOURCE, { publisher: 'p', forwards: [], more: Array(264_000).fill(0) });
  t.match(await whole.answer(1), { status: 400, body: /more than 263168 values/ });
  const large = dial();
  large.duplex.write(
    `PUT ${LEASE_RESOURCE} HTTP/1.1\r\nhost: h\r\ncontent-length: ${MAX_LEASE_BODY_BYTES + 1}\r\n\r\n`,
  );
  t.match(await large.answer(1), { status: 413 });

  // Each says that it will send as much as it may, and sends nothing.
  const many = Array.from({ length: MAX_LEASE_MEMORY_BYTES / MAX_LEASE_BODY_BYTES }, () => dial());
  for (const client of many)
    client.duplex.write(`PUT ${LEASE_RESOURCE} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n`);
  await many.at(-1)?.until(() => many.some(({ text }) => text !== ''));
  t.match(many.map(({ text }) => text).join(''), /^HTTP\/1\.1 503 /, 'the last one');
  const late = dial();
  const body = { publisher: 'docker', forwards: [], filler: 'x'.repeat(MAX_LEASE_BODY_BYTES - 100) };
  late.send('PUT', LEASE_RESOURCE, body);
  t.match(await late.answer(1), { status: 503, body: /too many requests at once/ });
  const small = dial();
  small.send('PUT', LEASE_RESOURCE, { publisher: 'docker', forwards: [] });
  t.match(await small.answer(1), { status: 200 }, 'there is room for that');
  const [first] = many;
  first?.duplex.destroy();
  for (let count = 2; (await late.answer(count - 1)).status === 503; count++)
    late.send('PUT', LEASE_RESOURCE, body);
});

/** A client that reads nothing. */
function deafClient(guest: End, text: string): { readonly duplex: StreamDuplex; error?: Error } {
  const duplex = new StreamDuplex((handler) => guest.multiplexer.open(SERVICE, handler));
  const client: ReturnType<typeof deafClient> = { duplex };
  duplex.on('error', (error) => {
    client.error = error;
  });
  duplex.write(text);
  return client;
}

/** Has requests set aside what they may, until there is so much left (bytes) of what all leases may have. */
function fillMemory(guest: End, left: number): void {
  const announce = (length: number): void =>
    void deafClient(guest, `PUT ${LEASE_RESOURCE} HTTP/1.1\r\nhost: h\r\ncontent-length: ${length}\r\n\r\n`);
  let more = MAX_LEASE_MEMORY_BYTES - left;
  for (; more > MAX_LEASE_BODY_BYTES + 2 * REQUEST_BYTES; more -= MAX_LEASE_BODY_BYTES + REQUEST_BYTES)
    announce(MAX_LEASE_BODY_BYTES);
  announce(more - REQUEST_BYTES);
}

t.test('answers that nobody reads are bounded, far longer than their requests though they are', async (t) => {
  const { guest, dial } = await start(t);
  const bodyOf = (count: number): string =>
    JSON.stringify({ publisher: 'docker', forwards: Array(count).fill(0) });
  const ask = async (count: number): Promise<{ status: number; body: string }> => {
    const client = dial();
    client.send('PUT', LEASE_RESOURCE, bodyOf(count));
    const answer = await client.answer(1);
    client.duplex.destroy();
    return answer;
  };
  /** What one costs before it is answered. */
  const costOf = (count: number): number =>
    REQUEST_BYTES + bodyOf(count).length + (count + 10) * JSON_VALUE_BYTES;
  const [many, fewer] = [2_000, 1_500];
  const { status, body } = await ask(many);
  t.ok(status === 200 && body.length > 20 * bodyOf(many).length);
  const whole = costOf(many) + body.length;
  fillMemory(guest, whole + costOf(fewer) + REQUEST_BYTES);
  const { duplex } = deafClient(
    guest,
    `PUT ${LEASE_RESOURCE} HTTP/1.1\r\nhost: h\r\ncontent-length: ${bodyOf(many).length}\r\n\r\n${bodyOf(many)}`,
  );
  let late = await ask(fewer);
  while (late.status === 200) late = await ask(fewer);
  t.match(
    late,
    { status: 503, body: /too many requests at once/ },
    'there is room for it, and none for its answer',
  );
  duplex.destroy();
  while ((await ask(fewer)).status === 503);
});

t.test('whoever asks on while there is no memory, and reads nothing, loses the lease', async (t) => {
  const { guest, dial } = await start(t);
  fillMemory(guest, REQUEST_BYTES - 1);
  const full = dial();
  full.send('GET', '/forwards/list', '');
  t.match(await full.answer(1), { status: 503, body: /too many requests at once/ });
  const client = deafClient(guest, 'GET /forwards/list HTTP/1.1\r\nhost: h\r\n\r\n'.repeat(600));
  while (!client.error) await new Promise(setImmediate);
  t.match(client.error, { message: /more than 1 request at once/ });
});

t.test('no bytes do any harm', async (t) => {
  const { host, dial } = await start(t);
  const random = randomFrom(3);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  const values = [
    ...['null', '[]', '{}', '1e999', '"x"', '{"__proto__":{"proto":"tcp"}}', `${'['.repeat(50_000)}`],
    JSON.stringify({ publisher: 'p', forwards: [{ ...port(0), out_ip: 'fe80::1%\u001b[2J' }] }),
    JSON.stringify({ publisher: 'p', forwards: [{ proto: { toString: 1 }, out_port: -0 }, [[]], 'tcp'] }),
    JSON.stringify({ publisher: { length: 3 }, forwards: { length: 1e9 } }),
    JSON.stringify({ publisher: 'p', forwards: Array.from({ length: 20_000 }, () => 0) }),
    JSON.stringify({
      publisher: 'p',
      forwards: Array.from({ length: 5_000 }, () => ({ proto: 'x'.repeat(700) })),
    }),
    JSON.stringify({ ...port(0), in_port: 1e21, annotation: {} }),
    '\0'.repeat(100),
  ];
  const raw = [
    'GET / HTTP/1.1\r\n\r\n',
    'PUT /v1/lease HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nffffffff\r\n',
    'PUT /v1/lease HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n',
    `GET /${'x'.repeat(70_000)} HTTP/1.1\r\n\r\n`,
    `GET / HTTP/1.1\r\n${'a: b\r\n'.repeat(5000)}\r\n`,
    'CONNECT x:1 HTTP/1.1\r\nhost: h\r\n\r\n',
    'GET /v1/lease HTTP/1.1\r\nhost: h\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n',
    'PUT /forwards/expose/port HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n{}',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    '\u0016\u0003\u0001\u0002\u0000',
  ];
  for (let round = 0; round < 60; round++) {
    const client = dial();
    if (random() < 0.4) client.duplex.write(pick(raw));
    else {
      const path = pick([
        LEASE_RESOURCE,
        '/forwards/expose/port',
        '/forwards/unexpose/pipe',
        '/forwards/list',
      ]);
      client.send(
        pick(['PUT', 'DELETE', 'POST', 'GET']),
        path,
        pick(values),
        pick(['', 'content-type: ;;\r\n']),
      );
    }
    if (random() < 0.3) client.duplex.destroy();
    else if (random() < 0.5) client.duplex.end();
    if (round % 10 === 9) {
      const sane = dial();
      sane.send('PUT', LEASE_RESOURCE, { publisher: 'sane', forwards: [port(0)] });
      t.match(await sane.answer(1), { status: 200, body: /"state":"listening","out_port":\d+/ });
      sane.duplex.destroy();
    }
  }
  t.same(
    host.log.lines.filter(({ level }) => level > 40),
    [],
    'no fault of ours',
  );
});

t.test('what a guest does again and again does not fill the log, and has no stack there', async (t) => {
  const { host, dial } = await start(t);
  const chunked = `PUT ${LEASE_RESOURCE} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n`;
  const greedy = Array.from({ length: MAX_LEASE_MEMORY_BYTES / MAX_LEASE_BODY_BYTES }, () => dial());
  for (const client of greedy) client.duplex.write(chunked);
  await greedy[0]?.until(() => greedy.some(({ text }) => text !== ''));
  const late = dial();
  for (let count = 1; count <= 100; count++) {
    late.duplex.write(`${chunked}0\r\n\r\n`);
    t.equal((await late.answer(count)).status, 503);
  }
  const other = dial();
  for (let count = 1; count <= 100; count++) {
    other.send('PUT', '/forwards/expose/port', { ...port(0), out_ip: `\u009b2J${'x'.repeat(950)}` });
    t.equal((await other.answer(count)).status, 400);
  }
  host.server?.close();
  await host.log.line(/more like it/, 2);
  t.same(
    host.log.lines.map(({ level, more, err }) => [level, more, err]),
    [...Array(6).fill([DEBUG, undefined, undefined]), [DEBUG, 98, undefined], [DEBUG, 97, undefined]],
  );
  for (const { msg } of host.log.lines) t.ok(msg.length < 1200 && !/\p{Cc}/u.test(msg), msg);
});

t.test('a fault of ours is logged with its stack, and no more often than other lines', async (t) => {
  const { host, dial } = await start(t);
  const open = host.leases.open.bind(host.leases);
  host.leases.open = () => {
    const lease = open();
    if (lease)
      lease.set = () => {
        throw new TypeError('a fault');
      };
    return lease;
  };
  const client = dial();
  for (let count = 1; count <= 10; count++) {
    client.send('PUT', LEASE_RESOURCE, { publisher: 'p', forwards: [] });
    t.match(await client.answer(count), { status: 500, body: '{"message":"a fault"}' });
  }
  t.equal(host.log.lines.length, 3);
  t.match(host.log.lines[0], { msg: 'PUT /v1/lease failed', err: { stack: /at lease\.set|lease-server/ } });
});

t.test(
  'a lease’s bodies are read one after the other, and count until nothing is done with them',
  async (t) => {
    const { host, dial } = await start(t);
    const bodies: object[] = [];
    const goOn: (() => void)[] = [];
    const open = host.leases.open.bind(host.leases);
    host.leases.open = () => {
      const lease = open();
      if (lease)
        lease.set = (body) => {
          bodies.push(body as object);
          return new Promise((resolve) => goOn.push(() => resolve({ forwards: [] })));
        };
      return lease;
    };
    // As objects these are four times as large as the text is: 18 of them are too much.
    const filler = Array.from({ length: 150_000 }, () => 0);
    const clients = Array.from({ length: 4 }, () => dial());
    for (const client of clients)
      for (let count = 1; count <= 3; count++)
        client.send('PUT', LEASE_RESOURCE, { publisher: `p${count}`, forwards: [], filler });
    await clients[3]?.until(() => bodies.length === 3 && clients.some(({ text }) => text !== ''));
    t.equal(
      clients.filter(({ text }) => text.startsWith('HTTP/1.1 503 ')).length,
      1,
      'the fourth is too much',
    );
    t.ok(bodies.every((body) => (body as { publisher: string }).publisher === 'p1'));
    for (const client of clients) client.duplex.destroy();
    await host.until(() => clients.every(({ duplex }) => duplex.destroyed));
    const late = dial();
    const body = { publisher: 'late', forwards: [], filler };
    late.send('PUT', LEASE_RESOURCE, body);
    t.match(await late.answer(1), { status: 503 }, 'the host is still at work on what nobody waits for');
    for (const each of goOn) each();
    const last = dial();
    last.send('PUT', LEASE_RESOURCE, body);
    await last.until(() => goOn.length === 4);
    goOn[3]?.();
    t.match(await last.answer(1), { status: 200 });
  },
);
