import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InspectServer } from '../../../guest/inspect/inspect-server.js';
import { Api } from '../../../guest/publish/api.js';
import type { HostLease } from '../../../guest/publish/host-lease.js';
import { ConnectionLost, ExposeError, LeaseConnection } from '../../../guest/publish/lease-connection.js';
import { LeaseServer } from '../../../host/control/lease-server.js';
import { GuestInspector } from '../../../host/diagnose/guest-inspector.js';
import { ExposePolicy } from '../../../host/forwards/expose-policy.js';
import { ForwardTable } from '../../../host/forwards/forward-table.js';
import { Leases } from '../../../host/forwards/leases.js';
import { StreamDuplex } from '../../../protocol/duplex.js';
import { CONTROL_SERVICE, type VpnkitPort } from '../../../protocol/services/control.js';
import { INSPECT_SERVICE } from '../../../protocol/services/inspect.js';
import { ERROR, LogRecorder } from '../../fixtures/log-recorder.js';
import { RecordingHandler } from '../../protocol/fixtures/recording.js';
import { answerWith, Exchange, sendAll } from '../fixtures/exchange.js';
import type { Target } from '../target.js';

/** What comes is whole, or cut into pieces of so many bytes, as the first byte says. */
type Conversation = (bytes: Buffer, pieceBytes: number) => Promise<void>;

/** A conversation takes some turns of the event loop. */
const COST = 8;

const FORWARD = '{"proto":"tcp","out_ip":"127.0.0.1","out_port":8080,"in_ip":"127.0.0.1","in_port":80}';

/** What a client of the host's service for leases may send; nothing that it asks for is allowed. */
export const leaseServer = conversation(
  [
    request('PUT', '/v1/lease', `{"publisher":"docker","forwards":[${FORWARD}]}`),
    request('PUT', '/forwards/expose/port', FORWARD) + request('GET', '/forwards/list', ''),
    request('DELETE', '/forwards/unexpose/pipe', '{"proto":"unix","out_path":"/a"}'),
    'PUT /v1/lease HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
  ],
  async (bytes, pieceBytes) => {
    const { server, log } = await leaseHost();
    const exchange = new Exchange();
    exchange.b.owner.accept = (stream) => server.accept(stream);
    const handler = open(exchange, CONTROL_SERVICE);
    sendAll(handler, bytes, pieceBytes);
    await exchange.settle();
    await exchange.end();
    checkAnswers(handler, log);
  },
  async () => (await theLeaseHost)?.close(),
);

/** What the host may answer to a guest that asks it for forwards. */
export const leaseClient = conversation(
  [
    answer('{"forwards":[{"state":"listening"}]}') + answer(FORWARD) + answer(`[${FORWARD}]`),
    answer('{"message":"no","code":"EACCES"}', '403 Forbidden'),
  ],
  async (bytes, pieceBytes) => {
    const exchange = new Exchange();
    answerWith(exchange.b, bytes, pieceBytes);
    const duplex = new StreamDuplex((handler) =>
      exchange.a.multiplexer.open({ proto: 'unix', path: CONTROL_SERVICE }, handler),
    );
    const connection = new LeaseConnection(duplex, () => {});
    const forward: VpnkitPort = JSON.parse(FORWARD);
    const asking = (async () => {
      await refused(connection.set({ publisher: 'docker', forwards: [forward] }));
      await refused(connection.expose(forward));
      await refused(connection.list(1));
    })();
    await exchange.settle();
    await exchange.end();
    await asking;
    if (!connection.ended) throw new Error('it does not know that it has ended');
  },
);

/** What a host may ask a guest that looks. */
export const inspectServer = conversation(
  [
    request('GET', '/v1/way?proto=sctp', ''),
    request('GET', '/v1/way?ip=::1&port=0', ''),
    request('POST', '/v1/way?container=web&private=80', 'x'),
    request('GET', '/v1/way?published=', ''),
  ],
  async (bytes, pieceBytes) => {
    const server = new InspectServer({ engine: undefined, proc: '/nowhere' });
    const exchange = new Exchange();
    exchange.b.owner.accept = (stream) => server.accept(stream);
    const handler = open(exchange, INSPECT_SERVICE);
    sendAll(handler, bytes, pieceBytes);
    await exchange.settle();
    await exchange.end();
    checkAnswers(handler);
  },
);

const WAY =
  '{"machine":{"hostname":"vm","kernel":"6.1","clock":1,"privileged":true},"listeners":{"found":[{"proto":"tcp","ip":"::","port":80,"pid":1,"command":"x"}]},"container":{"found":{"id":"1","name":"web","published":[{"ip":"","port":1,"privatePort":1,"proto":"tcp"}],"addresses":["1.2.3.4"],"exposed":["80/tcp"]}},"rivals":[],"candidates":[{"id":"1","name":"a"}],"dnat":{"found":[{"by":"nft","chain":"c","rule":"r","to":"t","packets":1}]},"drops":{"found":[]},"link":{"found":{"bridge":"b","up":true}},"inside":{"unseen":"no"}}';

/** What a guest may answer to a host that asks it to look. */
export const inspectClient = conversation(
  [answer(WAY), answer('{"message":"no"}', '400 Bad Request'), answer('{}', '200 OK')],
  async (bytes, pieceBytes) => {
    const exchange = new Exchange();
    answerWith(exchange.b, bytes, pieceBytes);
    const inspector = new GuestInspector({
      takesStreams: true,
      obstacle: { by: 'channel', message: 'none' },
      open: (destination, handler) => exchange.a.multiplexer.open(destination, handler),
    });
    const looking = inspector.look({ published: '80' });
    await exchange.settle();
    await exchange.end();
    // Control characters of a guest's must do nothing on a terminal.
    if (/\\u00[01]|[\x7f-\x9f]/.test(JSON.stringify(await looking))) throw new Error('control characters');
  },
);

/** What a program in the VM may send to the guest's API. */
export const guestApi = conversation(
  [
    request('PUT', '/forwards/expose/port', FORWARD),
    request('POST', '/v1/proxy', FORWARD) + request('POST', '/v1/proxy', FORWARD),
    request('POST', '/forwards/unexpose/pipe', '{"proto":"unix","out_path":"/a"}') +
      request('GET', '/forwards/list', ''),
  ],
  async (bytes, pieceBytes) => {
    const { path, log } = await api();
    const socket = net.connect({ path, allowHalfOpen: true });
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    // The API may end the connection before all has been sent.
    socket.on('error', () => {});
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    const size = pieceBytes || bytes.length || 1;
    for (let at = 0; at < bytes.length; at += size) socket.write(bytes.subarray(at, at + size));
    socket.end();
    await closed;
    checkStatus(text, log);
  },
  async () => (await theApi)?.close(),
);

function conversation(seeds: readonly string[], converse: Conversation, close?: () => Promise<void>): Target {
  return {
    seeds: seeds.map((seed) => Buffer.concat([Buffer.from([0]), Buffer.from(seed)])),
    run: (input) => converse(input.subarray(1), input[0] ?? 0),
    cost: COST,
    ...(close && { close }),
  };
}

function request(method: string, path: string, body: string): string {
  return `${method} ${path} HTTP/1.1\r\nhost: h\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

function answer(body: string, status = '200 OK'): string {
  return `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

function open({ a }: Exchange, path: string): RecordingHandler {
  const handler = new RecordingHandler();
  handler.stream = a.multiplexer.open({ proto: 'unix', path }, handler);
  return handler;
}

/** A refusal is what is expected of a host that says anything. */
async function refused(asked: Promise<unknown>): Promise<void> {
  await asked.catch((thrown: unknown) => {
    if (!(thrown instanceof ExposeError || thrown instanceof ConnectionLost)) throw thrown;
    if (/\p{Cc}/u.test(thrown.message)) throw new Error('control characters in a message');
  });
}

function checkAnswers({ data }: RecordingHandler, log?: LogRecorder): void {
  checkStatus(data.toString('latin1'), log);
}

/** Whatever was asked is no fault of ours. */
function checkStatus(text: string, log?: LogRecorder): void {
  if (/^HTTP\/1\.1 500 /m.test(text)) throw new Error(`it has failed: ${text}`);
  const lines = log?.lines.splice(0).filter(({ level }) => level >= ERROR) ?? [];
  if (lines.length > 0) throw new Error(`it has logged ${JSON.stringify(lines)}`);
}

interface LeaseHost {
  server: LeaseServer;
  log: LogRecorder;
  close(): Promise<void>;
}

interface GuestApi {
  path: string;
  log: LogRecorder;
  close(): void;
}

let theLeaseHost: Promise<LeaseHost> | undefined;

/** One for all inputs. */
function leaseHost(): Promise<LeaseHost> {
  theLeaseHost ??= (async () => {
    const log = new LogRecorder();
    const { logger } = log;
    const forwards = new ForwardTable({ onClient: (socket) => socket.reset(), logger });
    const policy = new ExposePolicy({ rules: [], socketsFolder: '/nowhere' });
    const leases = new Leases({ forwards, policy, maxForwards: 100, logger });
    const server = new LeaseServer(leases, logger);
    await server.ready();
    const close = async (): Promise<void> => {
      server.close();
      leases.close();
      await forwards.close();
    };
    return { server, log, close };
  })();
  return theLeaseHost;
}

let theApi: Promise<GuestApi> | undefined;

/** One for all inputs; the host behind it grants everything. */
function api(): Promise<GuestApi> {
  theApi ??= (async () => {
    const log = new LogRecorder();
    const folder = mkdtempSync(join(tmpdir(), 'pf-'));
    process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
    const granting = {
      expose: async (port: VpnkitPort) => port,
      unexpose: async () => {},
      list: async () => [],
      close: () => {},
    };
    const openLease = (): HostLease => granting as unknown as HostLease;
    const served = new Api({ hostControl: { openLease }, describe: () => 'everything\n' }, log.logger);
    const path = join(folder, 'api.sock');
    await served.listen(path);
    return { path, log, close: () => served.close() };
  })();
  return theApi;
}
