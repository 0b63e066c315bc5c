import type { Duplex } from 'node:stream';
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import { StreamDuplex } from '../../protocol/duplex.js';
import { OperationError } from '../../protocol/errors.js';
import type { Logger } from '../../protocol/program/logger.js';
import { LEASE_RESOURCE } from '../../protocol/services/control.js';
import type { Stream } from '../../protocol/stream.js';
import type { Lease } from '../forwards/lease.js';
import type { Leases } from '../forwards/leases.js';
import { readBodiesAsJson, reportErrors } from './json-api.js';
import { serveVpnkit } from './vpnkit-api.js';

/** The body of a request that names a lease's forwards: some 30,000 of the usual size. */
export const MAX_LEASE_BODY_BYTES = 4 * 1024 * 1024;

/** What the bodies of all requests on all leases may take at the same time: a guest must not fill the host. */
export const MAX_LEASE_BODIES_BYTES = 64 * 1024 * 1024;

/** Requests on one lease that may wait for their answers; a client has one. */
export const MAX_LEASE_REQUESTS = 16;

/** All but the requests that name whole leases have one forward in their body. */
const MAX_FORWARD_BODY_BYTES = 16 * 1024;

const UNAVAILABLE = 503;

/** One lease's stream. */
interface Client {
  readonly duplex: Duplex;
  readonly lease: Lease;
  /** Requests that are not answered yet, and how many bytes their bodies may have. */
  requests: number;
  bodyBytes: number;
}

/** The service portferry:control: HTTP/1.1 on streams that the guest opens, of which each is a lease. */
export class LeaseServer {
  readonly #leases: Leases;
  readonly #app: FastifyInstance;
  #closed = false;
  readonly #clients = new Map<Duplex, Client>();
  /** Of all clients. */
  #bodyBytes = 0;

  constructor(leases: Leases, logger: Logger) {
    this.#leases = leases;
    // A lease lives as long as its stream: an idle one must not be ended.
    this.#app = fastify({ bodyLimit: MAX_FORWARD_BODY_BYTES, keepAliveTimeout: 0 });
    readBodiesAsJson(this.#app);
    // A guest is not to fill the log; that its forwards fail is said where that is found.
    reportErrors(this.#app, logger, 'debug');
    this.#boundRequests();
    serveVpnkit(this.#app, (request) => this.#clientOf(request).lease);
    this.#app.put(LEASE_RESOURCE, { bodyLimit: MAX_LEASE_BODY_BYTES }, (request) =>
      this.#clientOf(request).lease.set(request.body),
    );
  }

  /** Resolves when streams can be accepted. */
  async ready(): Promise<void> {
    await this.#app.ready();
  }

  /** Takes a stream that the guest has opened to the service, and serves one lease on it until it ends. */
  accept(stream: Stream): void {
    const lease = this.#closed ? undefined : this.#leases.open();
    if (!lease) {
      const message = this.#closed ? 'the host is stopping' : 'the host has as many leases as it takes';
      stream.refuse('policy', { code: 'EAGAIN', message });
      return;
    }
    const duplex = new StreamDuplex((handler) => {
      stream.accept(handler);
      stream.reportConnected(0);
      return stream;
    });
    const client: Client = { duplex, lease, requests: 0, bodyBytes: 0 };
    this.#clients.set(duplex, client);
    // How the stream ended makes no difference to the lease.
    duplex.on('error', () => {});
    duplex.on('close', () => {
      this.#clients.delete(duplex);
      this.#bodyBytes -= client.bodyBytes;
      void lease.end();
    });
    this.#app.server.emit('connection', duplex);
  }

  /** Ends all leases, and gives no more. */
  close(): void {
    this.#closed = true;
    for (const duplex of this.#clients.keys()) duplex.destroy(new Error('the host was told to stop'));
  }

  #clientOf(request: FastifyRequest): Client {
    const client = this.#clients.get(request.raw.socket);
    if (client) return client;
    throw new OperationError('the stream of this lease has ended');
  }

  /** Before a body is read: one client, and all of them together, can have the host keep only so much. */
  #boundRequests(): void {
    this.#app.addHook('onRequest', async (request, reply) => {
      const client = this.#clientOf(request);
      if (client.requests >= MAX_LEASE_REQUESTS) {
        const error = new OperationError(`more than ${MAX_LEASE_REQUESTS} requests at once`);
        client.duplex.destroy(error);
        throw error;
      }
      const bytes = bodyBytesOf(request);
      if (this.#bodyBytes + bytes > MAX_LEASE_BODIES_BYTES)
        throw Object.assign(new Error('too many requests at once: ask again'), { statusCode: UNAVAILABLE });
      client.requests++;
      client.bodyBytes += bytes;
      this.#bodyBytes += bytes;
      reply.raw.once('finish', () => {
        client.requests--;
        client.bodyBytes -= bytes;
        if (this.#clients.has(client.duplex)) this.#bodyBytes -= bytes;
      });
    });
  }
}

/** The most that a request's body may have. */
function bodyBytesOf({ routeOptions, headers }: FastifyRequest): number {
  const most = routeOptions.bodyLimit as number;
  return Math.min(Number(headers['content-length'] ?? most), most);
}
