import http from 'node:http';
import type { Socket } from 'node:net';
import { parseJson } from '../../protocol/bounded-json.js';
import { messageOf, UsageError } from '../../protocol/errors.js';
import { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { Logger } from '../../protocol/program/logger.js';
import { checkResource, type VpnkitPort } from '../../protocol/services/control.js';
import { BodyTooLarge, readBody } from '../../protocol/services/http-body.js';
import { textForPeople } from '../../protocol/services/text.js';
import { readVpnkitPort } from '../../protocol/services/vpnkit-port-fields.js';
import { listenOnUnixPath } from '../../protocol/transport/unix-path.js';
import type { HostLease } from './host-lease.js';
import { ExposeError } from './lease-connection.js';

/** What the API needs of the guest's agent. */
export interface ApiTarget {
  readonly hostControl: { openLease(publisher: string): HostLease };
  /** The state of the multiplexer, for people. */
  describe(): string;
}

/** A body holds one forward, of 11 members. */
const MAX_BODY_BYTES = 16 * 1024;
const MAX_BODY_VALUES = 64;

const OK = 200;
const BAD_REQUEST = 400;
const FORBIDDEN = 403;
const NOT_FOUND = 404;
const TOO_LARGE = 413;
const INTERNAL_ERROR = 500;
const UNAVAILABLE = 503;

interface Answer {
  status: number;
  type: string;
  body: string;
}

type Handler = (body: () => Promise<VpnkitPort>, socket: Socket) => Promise<Answer>;

/**
 * The API by which programs in the VM ask the host for forwards: that of Docker's forwarder, whose clients work
 * with it, on one lease for all of them; and `/v1/proxy`, where each connection is a lease of its own.
 */
export class Api {
  readonly #target: ApiTarget;
  readonly #log: Logger;
  /** Of what programs and the host can make happen again and again. */
  readonly #faults: LogLimiter;
  readonly #servers: http.Server[] = [];
  readonly #routes: ReadonlyMap<string, Handler>;
  /** The lease of all that is asked for by the API of Docker's forwarder. */
  #lease: HostLease | undefined;
  /** Connections that have, or wait for, a forward of their own. */
  readonly #proxies = new WeakSet<Socket>();

  constructor(target: ApiTarget, logger: Logger) {
    this.#target = target;
    this.#log = logger;
    this.#faults = new LogLimiter(logger);
    this.#routes = this.#makeRoutes();
  }

  /**
   * Serves the API on a unix socket, too, which only this user can use.
   * @throws OperationError when `path` cannot be listened on
   */
  async listen(path: string): Promise<void> {
    // A forward lives as long as its connection: an idle one must not be ended.
    const server = http.createServer({ keepAliveTimeout: 0 }, (request, response) => {
      void this.#serve(request, response);
    });
    await listenOnUnixPath(server, path);
    server.on('error', (err) =>
      this.#faults.log('error', `accept ${path}`, { err }, `${path} cannot accept clients`),
    );
    this.#servers.push(server);
    this.#log.info(`forwards can be asked for on ${path}`);
  }

  /** Stops answering, whoever is connected; what was exposed goes. */
  close(): void {
    for (const server of this.#servers) {
      server.close();
      server.closeAllConnections();
    }
    this.#lease?.close();
    this.#faults.flush();
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { method, url, socket } = request;
    const route = this.#routes.get(`${method} ${url}`);
    const answer = route
      ? await route(() => readForward(request), socket).catch((thrown: unknown) => this.#failure(thrown))
      : json(NOT_FOUND, { message: textForPeople(`there is no ${method} ${url} here`) });
    // What was not read of a body would be taken for the next request.
    if (!request.complete) response.setHeader('connection', 'close');
    const { status, type, body } = answer;
    response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
    response.end(body);
  }

  #makeRoutes(): Map<string, Handler> {
    const routes = new Map<string, Handler>();
    for (const resource of ['port', 'pipe'] as const) {
      const on =
        (action: (port: VpnkitPort, wanted: AbortSignal) => Promise<unknown>): Handler =>
        async (body, socket) => {
          const port = await body();
          checkResource(port, resource);
          await whileOpen(socket, (wanted) => action(port, wanted));
          return nothing();
        };
      const expose = on((port, wanted) => this.#sharedLease().expose(port, wanted));
      const unexpose = on((port) => this.#sharedLease().unexpose(port));
      for (const method of ['PUT', 'POST']) routes.set(`${method} /forwards/expose/${resource}`, expose);
      for (const method of ['DELETE', 'POST'])
        routes.set(`${method} /forwards/unexpose/${resource}`, unexpose);
    }
    routes.set('GET /forwards/list', async () => json(OK, await this.#sharedLease().list()));
    routes.set('GET /forwards/dump', async () => text(OK, this.#target.describe()));
    routes.set('POST /v1/proxy', (body, socket) => this.#proxy(body, socket));
    return routes;
  }

  /** As vpnkit's clients read it. */
  #failure(thrown: unknown): Answer {
    return json(this.#statusOf(thrown), { message: textForPeople(messageOf(thrown)) });
  }

  async #proxy(body: () => Promise<VpnkitPort>, socket: Socket): Promise<Answer> {
    if (this.#proxies.has(socket)) return text(BAD_REQUEST, 'this connection has its forward already');
    this.#proxies.add(socket);
    const lease = this.#target.hostControl.openLease('proxy');
    const close = (): void => lease.close();
    socket.once('close', close);
    try {
      await lease.expose(await body());
      return nothing();
    } catch (thrown) {
      socket.off('close', close);
      this.#proxies.delete(socket);
      lease.close();
      const status = this.#statusOf(thrown);
      const known = [BAD_REQUEST, FORBIDDEN].includes(status);
      return text(known ? status : UNAVAILABLE, textForPeople(messageOf(thrown)));
    }
  }

  #sharedLease(): HostLease {
    this.#lease ??= this.#target.hostControl.openLease('api');
    return this.#lease;
  }

  #statusOf(thrown: unknown): number {
    if (thrown instanceof ExposeError) return thrown.status;
    if (thrown instanceof UsageError) return BAD_REQUEST;
    if (thrown instanceof BodyTooLarge) return TOO_LARGE;
    this.#faults.log('error', 'failed', { err: thrown }, 'a request for a forward failed');
    return INTERNAL_ERROR;
  }
}

/** Does something for a client; the signal is aborted when that has gone meanwhile. */
async function whileOpen(socket: Socket, action: (wanted: AbortSignal) => Promise<unknown>): Promise<void> {
  const gone = new AbortController();
  const onClose = (): void => gone.abort();
  socket.once('close', onClose);
  await action(gone.signal).finally(() => socket.off('close', onClose));
}

/** @throws UsageError, BodyTooLarge */
async function readForward(request: http.IncomingMessage): Promise<VpnkitPort> {
  const body = await readBody(request, MAX_BODY_BYTES).catch((thrown: unknown) => {
    if (thrown instanceof BodyTooLarge) throw thrown;
    throw new UsageError(`the request was cut off: ${messageOf(thrown)}`);
  });
  return readVpnkitPort(parseJson('the body', body, MAX_BODY_VALUES));
}

function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json', body: JSON.stringify(value) };
}

function text(status: number, body: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body };
}

function nothing(): Answer {
  return text(OK, '');
}
