import { once } from 'node:events';
import net from 'node:net';
import t, { type Test } from 'tap';
import type { Endpoint } from '../../../host/bench/endpoint.js';
import { encodeRequest, serveFarEnd } from '../../../host/bench/far-end.js';
import { Download, Exchange, Upload } from '../../../host/bench/near-end.js';
import { BLOCK_BYTES, patternAt } from '../../../host/bench/pattern.js';
import { startFarEnd } from '../../fixtures/far-end.js';
import { double, drop, flip, startForwarder, stopAt } from '../../fixtures/forwarder.js';
import { freePort } from '../../fixtures/free-ports.js';
import { startServer } from '../../fixtures/programs.js';

const BYTES = 3 * BLOCK_BYTES + 17;
const REQUEST_BYTES = 9;

/** A far end of the test's own. */
async function startOther(t: Test, serve: (socket: net.Socket) => void): Promise<Endpoint> {
  return { host: '127.0.0.1', port: await startServer(t, serve) };
}

t.test('transfers of any length arrive, and are found to be right', async (t) => {
  const endpoint = await startFarEnd(t);
  for (const bytes of [1, 2, BLOCK_BYTES - 1, BLOCK_BYTES, BYTES, 5 * 1024 * 1024]) {
    await t.resolves(new Upload(endpoint).transfer(bytes), `${bytes} bytes up`);
    await t.resolves(new Download(endpoint).transfer(bytes), `${bytes} bytes down`);
  }
  await t.resolves(new Download(endpoint).transfer(0));
});

t.test('an upload of which a byte is changed or doubled is wrong', async (t) => {
  const target = await startFarEnd(t);
  for (const position of [0, 1, BLOCK_BYTES, BYTES - 1]) {
    for (const fault of [flip, double]) {
      const endpoint = await startForwarder(t, target, { up: fault(REQUEST_BYTES + position) });
      await t.rejects(new Upload(endpoint).transfer(BYTES), {
        message: `what arrived is not what was sent, somewhere in ${BYTES} bytes`,
      });
    }
  }
});

t.test('a download of which a byte is changed, missing or doubled is wrong', async (t) => {
  const target = await startFarEnd(t);
  for (const position of [0, BLOCK_BYTES, BYTES - 1]) {
    for (const fault of [flip, double, drop]) {
      const endpoint = await startForwarder(t, target, { down: fault(position) });
      await t.rejects(new Download(endpoint).transfer(BYTES), /wrong bytes|bytes arrived/, fault.name);
    }
  }
});

t.test('a download must have its length', async (t) => {
  const send = (bytes: number) =>
    startOther(t, (socket) => void socket.once('data', () => socket.end(patternAt(0, bytes))));
  await t.rejects(new Download(await send(99)).transfer(100), {
    message: '99 bytes arrived before the end, asked for were 100',
  });
  await t.rejects(new Download(await send(101)).transfer(100), {
    message: '101 bytes arrived, asked for were 100',
  });
});

t.test('a transfer that is given up fails', async (t) => {
  const upload = new Upload(await startFarEnd(t));
  const transfer = upload.transfer(BYTES);
  upload.close();
  await t.rejects(transfer, { message: 'the connection was closed' });
});

t.test('an early end, a reset and a port that is closed are told as such', async (t) => {
  const target = await startFarEnd(t);
  const ends = (how: 'end' | 'reset') => startForwarder(t, target, { up: stopAt(0, how) });
  const ending = await ends('end');
  await t.rejects(new Upload(ending).transfer(BYTES), { message: 'the connection ended early' });
  await t.rejects(new Download(ending).transfer(BYTES), /^0 bytes arrived before the end/);
  await t.rejects(new Exchange(ending).ask(), { message: 'the connection ended early' });
  const resetting = await ends('reset');
  const closed = { host: '127.0.0.1', port: await freePort() };
  for (const [endpoint, code] of [
    [resetting, /ECONNRESET|EPIPE/],
    [closed, /connect ECONNREFUSED 127\.0\.0\.1:\d+/],
  ] as const) {
    await t.rejects(new Upload(endpoint).transfer(BYTES), code);
    await t.rejects(new Download(endpoint).transfer(BYTES), code);
    await t.rejects(new Exchange(endpoint).ask(), code);
  }
});

t.test('answers are the requests, on every connection its own', async (t) => {
  const endpoint = await startFarEnd(t);
  const exchanges = [new Exchange(endpoint), new Exchange(endpoint)];
  for (let round = 0; round < 3; round++)
    await t.resolves(Promise.all(exchanges.map((exchange) => exchange.ask())));
  await t.resolves(Promise.all(exchanges.map((exchange) => exchange.finish())));
  await t.resolves(Promise.all(exchanges.map((exchange) => exchange.finish())), 'also when it is gone');
});

t.test('an answer that is changed, or another’s, is wrong', async (t) => {
  const target = await startFarEnd(t);
  for (const faults of [{ up: flip(REQUEST_BYTES + 127) }, { down: flip(64) }, { up: double(REQUEST_BYTES) }])
    await t.rejects(
      new Exchange(await startForwarder(t, target, faults)).ask(),
      /bytes (of an answer )?arrived/,
    );
  const requests: Buffer[] = [];
  const crossing = await startOther(t, (socket) => {
    socket.once('data', (request) => {
      requests.push(request.subarray(REQUEST_BYTES));
      socket.write(requests[0] ?? '');
    });
  });
  const [first, second] = [new Exchange(crossing), new Exchange(crossing)];
  await first.ask();
  await t.rejects(second.ask(), { message: 'wrong bytes arrived in an answer' });
  first.close();
});

t.test('an answer to nothing is too much', async (t) => {
  const endpoint = await startOther(t, (socket) => {
    socket.once('data', (request) => socket.write(Buffer.concat([request.subarray(REQUEST_BYTES), request])));
  });
  await t.rejects(new Exchange(endpoint).ask(), {
    message: '265 bytes of an answer arrived, expected were 128',
  });
});

t.test('an exchange that has failed while nothing was asked fails what is asked later', async (t) => {
  let accepted: net.Socket | undefined;
  const endpoint = await startOther(t, (socket) => {
    accepted = socket;
    socket.once('data', (request) => socket.write(request.subarray(REQUEST_BYTES)));
  });
  const exchange = new Exchange(endpoint);
  await exchange.ask();
  const { failure } = exchange;
  accepted?.resetAndDestroy();
  await t.rejects(failure, /ECONNRESET/);
  await t.rejects(exchange.failure, /ECONNRESET/);
  await t.rejects(exchange.ask(), /ECONNRESET/);
});

t.test('the far end waits for a whole request, and resets what asks for something else', async (t) => {
  const endpoint = await startFarEnd(t);
  const other = new Exchange(endpoint);
  const socket = net.connect(endpoint.port, endpoint.host).setNoDelay();
  await once(socket, 'connect');
  const request = encodeRequest({ kind: 'source', bytes: 3 });
  for (const part of [request.subarray(0, 1), request.subarray(1, 5), request.subarray(5)]) {
    socket.write(part);
    // When this has its answer, the part has been read.
    await other.ask();
  }
  const [answer] = await once(socket, 'data');
  t.same(answer, patternAt(0, 3));
  socket.end();
  const wrong = net.connect(endpoint.port, endpoint.host);
  wrong.write(Buffer.alloc(20, 0xff));
  const [error] = await once(wrong, 'error');
  t.equal(error.code, 'ECONNRESET');
  await other.finish();
});

t.test('the far end ends with a client that ends early', async (t) => {
  const endpoint = await startFarEnd(t);
  const socket = net.connect({ ...endpoint, allowHalfOpen: true });
  socket.end(Buffer.concat([encodeRequest({ kind: 'sink', bytes: 10 }), patternAt(0, 9)]));
  await once(socket.resume(), 'end');
});

t.test('the far end tells what goes wrong while it listens, and throws what does before', async (t) => {
  const errors: string[] = [];
  const server = await serveFarEnd('127.0.0.1', 0, ({ message }) => errors.push(message));
  server.emit('error', new Error('accept EMFILE'));
  t.same(errors, ['accept EMFILE']);
  const { port } = server.address() as net.AddressInfo;
  await t.rejects(
    serveFarEnd('127.0.0.1', port, () => {}),
    { code: 'EADDRINUSE' },
  );
  server.close();
});
