import http from 'node:http';
import type { Duplex } from 'node:stream';
import { DeadlineQueue } from '../../protocol/deadline-queue.js';
import { StreamDuplex } from '../../protocol/duplex.js';
import { messageOf, UsageError } from '../../protocol/errors.js';
import { WAY_RESOURCE } from '../../protocol/services/inspect.js';
import type { Stream } from '../../protocol/stream.js';
import { canonicalIp } from '../../protocol/wire/address.js';
import { MAX_PORT } from '../../protocol/wire/destination.js';
import type { Wanted } from './engine-containers.js';
import { type InspectionSources, inspectWay } from './inspection.js';

/** Streams to the service at a time: the host needs one for each command that a user runs. */
const MAX_STREAMS = 16;

/** Looks at a time; each goes through all processes and all rules. */
const MAX_LOOKS = 2;

/** What comes before a request's end: a resource, and a few headers. */
const MAX_HEADER_BYTES = 4 * 1024;

/** How long (ms) a stream may be idle. */
const IDLE_MS = 10_000;

/** A container's name or id, as engines take them. */
const CONTAINER_NAME = /^[a-zA-Z0-9][\w.-]{0,127}$/;

/** The service portferry:inspect: HTTP/1.1 on streams that the host opens. It only looks. */
export class InspectServer {
  readonly #sources: InspectionSources;
  readonly #server: http.Server;
  readonly #duplexes = new Set<Duplex>();
  /** Those on which no request is under way: node:http looks after connections that it has accepted itself only. */
  readonly #idle: DeadlineQueue<Duplex>;
  #looks = 0;

  /** @param idleMs how long (ms) a stream may have no request; one whose headers are not complete does not count */
  constructor(sources: InspectionSources, idleMs = IDLE_MS) {
    this.#sources = sources;
    this.#idle = new DeadlineQueue(idleMs, (duplex) =>
      duplex.destroy(new Error('nothing was asked for too long')),
    );
    this.#server = http.createServer(
      { maxHeaderSize: MAX_HEADER_BYTES, keepAliveTimeout: 0 },
      (request, response) => {
        this.#idle.delete(request.socket);
        response.once('close', () => {
          if (!request.socket.destroyed) this.#idle.add(request.socket);
        });
        void this.#answer(request, response);
      },
    );
  }

  /** Takes a stream that the host has opened to the service. */
  accept(stream: Stream): void {
    if (this.#duplexes.size >= MAX_STREAMS) {
      stream.refuse('policy', { code: 'EAGAIN', message: `the guest is asked ${MAX_STREAMS} times already` });
      return;
    }
    const duplex = new StreamDuplex((handler) => {
      stream.accept(handler);
      stream.reportConnected(0);
      return stream;
    });
    this.#duplexes.add(duplex);
    // How the stream ended makes no difference: nobody waits for the answer any more.
    duplex.on('error', () => {});
    duplex.on('close', () => {
      this.#duplexes.delete(duplex);
      this.#idle.delete(duplex);
    });
    this.#idle.add(duplex);
    this.#server.emit('connection', duplex);
  }

  close(): void {
    for (const duplex of this.#duplexes) duplex.destroy(new Error('the guest was told to stop'));
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { status, body } = await this.#look(request).catch((thrown: unknown) => ({
      // What cannot be seen is part of the answer: all that fails is the question.
      status: 400,
      body: { message: messageOf(thrown) },
    }));
    const text = JSON.stringify(body);
    response.writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
    });
    response.end(text);
    request.resume();
  }

  async #look({ method, url = '' }: http.IncomingMessage): Promise<{ status: number; body: object }> {
    const { pathname, searchParams } = new URL(url, 'http://guest');
    if (method !== 'GET' || pathname !== WAY_RESOURCE)
      return { status: 404, body: { message: `the guest has no ${method} ${pathname}` } };
    const wanted = readQuery(searchParams);
    if (this.#looks >= MAX_LOOKS)
      return { status: 503, body: { message: 'the guest is looking for others: ask again' } };
    this.#looks++;
    try {
      return { status: 200, body: await inspectWay(wanted, this.#sources) };
    } finally {
      this.#looks--;
    }
  }
}

/** @throws UsageError */
function readQuery(query: URLSearchParams): Wanted {
  const proto = query.get('proto') ?? 'tcp';
  if (proto !== 'tcp' && proto !== 'udp') throw new UsageError('"proto" must be tcp or udp');
  const name = query.get('container');
  if (name !== null) {
    if (!CONTAINER_NAME.test(name)) throw new UsageError('"container" must be the name or id of a container');
    const privatePort = query.has('private') ? readPort(query, 'private') : undefined;
    return { kind: 'container', proto, name, privatePort };
  }
  const ip = query.get('ip');
  if (ip === null) return { kind: 'published', proto, port: readPort(query, 'published') };
  const canonical = canonicalIp(ip);
  if (canonical === undefined) throw new UsageError('"ip" must be a literal address');
  return { kind: 'destination', proto, ip: canonical, port: readPort(query, 'port') };
}

function readPort(query: URLSearchParams, name: string): number {
  const port = Number(query.get(name) ?? Number.NaN);
  if (Number.isInteger(port) && port >= 1 && port <= MAX_PORT) return port;
  throw new UsageError(`"${name}" must be a port`);
}
