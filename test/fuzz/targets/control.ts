import { createHash } from 'node:crypto';
import net from 'node:net';
import { ControlClient } from '../../../host/control/client.js';
import { readEvents } from '../../../host/control/event-client.js';
import { startControlServer } from '../../../host/control/late-server.js';
import { Guard } from '../../../host/dashboard/guard.js';
import { makeDashboardApp } from '../../../host/dashboard/server.js';
import { ForwardTable } from '../../../host/forwards/forward-table.js';
import { OperationError } from '../../../protocol/errors.js';
import { fakeControlTarget } from '../../fixtures/fake-control-target.js';
import { ERROR, LogRecorder } from '../../fixtures/log-recorder.js';
import { RawServer, socketPath, writeCut } from '../fixtures/raw-server.js';
import type { Target } from '../target.js';

/** A connection each, and some turns of the event loop. */
const COST = 8;

const HOST = '127.0.0.1:7678';
const TOKEN = 'x'.repeat(43);

const ASKED: readonly ((client: ControlClient) => Promise<unknown>)[] = [
  (client) => client.status(),
  (client) => client.forwards(),
  (client) => client.unexpose(['8080']),
  (client) => client.pathOf('8080'),
];

/** What may answer a command on the control socket: the first byte says what was asked, the second how it is cut. */
export const controlClient: Target = {
  cost: COST,
  seeds: [
    piece(0, answer('{"version":"1.0.0","channel":{"state":"connected"}}')),
    piece(1, answer('[{"id":"tcp *:80","state":"listening"}]')),
    piece(2, answer('{"removed":[],"unmatched":["8080"]}')),
    piece(3, answer('{"message":"no \\u001b[31m"}').replace('200 OK', '400 Bad Request')),
    piece(4, frame(1, '{"type":"hello"}') + frame(1, '{"type":"ended"}') + frame(8, '\x03\xe8bye')),
    piece(4, frame(9, 'ping') + frame(2, 'x')),
  ],
  async run([which = 0, cut = 0, ...rest]) {
    const host = await rawServer();
    const bytes = Buffer.from(rest);
    const kind = which % (ASKED.length + 1);
    host.answerWith(
      (request) => (kind < ASKED.length ? bytes : Buffer.concat([accepting(request), bytes])),
      cut,
    );
    const client = new ControlClient(host.path);
    try {
      if (kind < ASKED.length) await ASKED[kind]?.(client);
      else await readEvents(host.path, new URLSearchParams(), new AbortController().signal, () => {});
    } catch (thrown) {
      if (!(thrown instanceof OperationError)) throw thrown;
      if (/\p{Cc}/u.test(thrown.message))
        throw new Error(`control characters: ${JSON.stringify(thrown.message)}`);
    } finally {
      host.end();
    }
  },
  async close() {
    (await theRawServer)?.close();
  },
};

/** What a page in a browser may send to the dashboard, and a program of the user's to the control API. */
export const hostApi: Target = {
  cost: COST,
  seeds: [
    piece(0, request('GET', '/', `host: ${HOST}\r\n`)),
    piece(0, request('GET', '/v1/status', `host: ${HOST}\r\nauthorization: Bearer ${TOKEN}\r\n`)),
    piece(
      0,
      upgrade(`sec-websocket-protocol: portferry, token.${TOKEN}\r\n`) + frame(9, 'ping') + frame(1, 'x'),
    ),
    piece(1, request('GET', '/v1/dump', 'host: x\r\n') + request('GET', '/v1/path?of=web', 'host: x\r\n')),
    piece(
      1,
      request('POST', '/v1/forwards', 'host: x\r\ncontent-type: application/json\r\n', '{"specs":["x"]}'),
    ),
    piece(
      1,
      request('PUT', '/v1/log-level', 'host: x\r\ncontent-type: application/json\r\n', '{"level":"info"}'),
    ),
    piece(1, request('GET', '/v1/capture?of=8080', 'host: x\r\n') + upgrade('')),
  ],
  async run([which = 0, cut = 0, ...rest]) {
    const { dashboard, control, log } = await served();
    const socket = net.connect({ path: which % 2 === 0 ? dashboard : control, allowHalfOpen: true });
    let text = '';
    // The server may end the connection before all has been sent.
    socket.on('error', () => {});
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    // Who listens to events, or waits for a capture, is not let go: so the client goes.
    socket.on('end', () => socket.destroy());
    writeCut(socket, Buffer.from(rest), cut);
    socket.end();
    for (let turn = 0; turn < MAX_TURNS && !socket.closed; turn++) await new Promise(setImmediate);
    socket.destroy();
    await closed;
    if (/^HTTP\/1\.1 500 /m.test(text)) throw new Error(`it has failed: ${text}`);
    const lines = log.lines.splice(0).filter(({ level }) => level >= ERROR);
    if (lines.length > 0) throw new Error(`it has logged ${JSON.stringify(lines)}`);
  },
  async close() {
    await (await theServed)?.close();
  },
};

/** Turns of the event loop that an exchange may take. */
const MAX_TURNS = 200;

function piece(which: number, text: string): Buffer {
  return Buffer.from(`${String.fromCharCode(which, 0)}${text}`, 'latin1');
}

function answer(body: string): string {
  return `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

function request(method: string, path: string, headers: string, body = ''): string {
  const length = body === '' ? '' : `content-length: ${body.length}\r\n`;
  return `${method} ${path} HTTP/1.1\r\n${headers}${length}\r\n${body}`;
}

function upgrade(headers: string): string {
  return request(
    'GET',
    '/v1/events?types=ended',
    `host: ${HOST}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n${headers}`,
  );
}

/** A frame of RFC 6455, whole and without a mask. */
function frame(opcode: number, payload: string): string {
  return `${String.fromCharCode(0x80 | opcode, payload.length)}${payload}`;
}

/** The answer to a request for a WebSocket, by RFC 6455. */
function accepting(request: Buffer): Buffer {
  const [, key = ''] =
    /^sec-websocket-key: (.*)$/im.exec(request.toString('latin1').replaceAll('\r', '')) ?? [];
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  return Buffer.from(
    `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
  );
}

let theRawServer: Promise<RawServer> | undefined;

function rawServer(): Promise<RawServer> {
  theRawServer ??= new RawServer().listen();
  return theRawServer;
}

interface Served {
  dashboard: string;
  control: string;
  log: LogRecorder;
  close(): Promise<void>;
}

let theServed: Promise<Served> | undefined;

/** One host for all inputs. */
function served(): Promise<Served> {
  theServed ??= (async () => {
    const log = new LogRecorder();
    const { logger } = log;
    const forwards = new ForwardTable({ onClient: (socket) => socket.reset(), logger });
    const target = fakeControlTarget(forwards);
    const [dashboard, control] = [socketPath(), socketPath()];
    const guard = new Guard(TOKEN, '127.0.0.1', 7678);
    const page = new Map([['/', { type: 'text/html', content: Buffer.from('page'), lasting: false }]]);
    const app = await makeDashboardApp(target, { guard, page, maxConnections: 100, logger });
    await app.listen({ path: dashboard });
    const server = await startControlServer(target, control, logger);
    const close = async (): Promise<void> => {
      await app.close();
      await server.close();
      await forwards.close();
    };
    return { dashboard, control, log, close };
  })();
  return theServed;
}
