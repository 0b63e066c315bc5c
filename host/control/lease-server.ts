import type { Duplex } from 'node:stream';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import {
  countJsonValues,
  JSON_VALUE_BYTES,
  parseCountedJson,
  parseJson,
} from '../../protocol/bounded-json.js';
import { formatCount } from '../../protocol/count.js';
import { StreamDuplex } from '../../protocol/duplex.js';
import { OperationError } from '../../protocol/errors.js';
import type { Logger } from '../../protocol/program/logger.js';
import { LEASE_RESOURCE } from '../../protocol/services/control.js';
import type { Stream, StreamHandler } from '../../protocol/stream.js';
import type { Lease } from '../forwards/lease.js';
import { MAX_LEASED_FORWARDS } from '../forwards/lease-request.js';
import type { Leases } from '../forwards/leases.js';
import { bodyLimitOf, Overloaded, readBodies, reportErrors } from './json-api.js';
import { MemoryBudget, type Reservation } from './memory-budget.js';
import { TurnBudget } from './turn-budget.js';
import { serveVpnkit, type VpnkitTarget } from './vpnkit-api.js';

/** The body of a request that names a lease's forwards: 256 bytes for each that there may be, twice the usual. */
export const MAX_LEASE_BODY_BYTES = MAX_LEASED_FORWARDS * 256;

/** What the requests of all leases may cost (bytes) at the same time, as text, as objects, and as answers not yet read. */
export const MAX_LEASE_MEMORY_BYTES = 64 * 1024 * 1024;

/** Requests on one lease that may wait for their answers; a client has one. */
export const MAX_LEASE_REQUESTS = 16;

/** All but the requests that name whole leases have one forward in their body. */
const MAX_FORWARD_BODY_BYTES = 16 * 1024;

/** A forward has 13 members; later versions may have more. */
const MAX_FORWARD_VALUES = 16;

/** The forwards of a lease, who asks for them, and what later versions may say beside that. */
const MAX_LEASE_VALUES = MAX_LEASED_FORWARDS * MAX_FORWARD_VALUES + 1024;

/** What comes before a request's body: our own clients need a hundred bytes. */
const MAX_HEADER_BYTES = 4 * 1024;

/** What a request costs (bytes) beside its body: as many headers as fit, the objects that stand for it, a short answer. */
export const REQUEST_BYTES = 16 * 1024;

/** What of that an answer may have: what is said of one forward, or of a failure, has no more. */
const ANSWER_BYTES = 4 * 1024;

/** One lease's stream. */
interface Client {
  readonly duplex: Duplex;
  readonly lease: Lease;
  /** What its requests cost that are not answered yet. */
  readonly unanswered: Set<Reservation>;
  /** Whatever names the whole lease waits for what has done so before. */
  turn: Promise<unknown>;
}

/** A request, for as long as something is done about it. */
interface Call {
  readonly client: Client;
  readonly cost: Reservation;
  /** There was no memory for it. */
  readonly refused: boolean;
}

/** The service portferry:control: HTTP/1.1 on streams that the guest opens, of which each is a lease. */
export class LeaseServer {
  readonly #leases: Leases;
  readonly #app: FastifyInstance;
  #closed = false;
  readonly #clients = new Map<Duplex, Client>();
  readonly #calls = new WeakMap<FastifyRequest['raw'], Call>();
  readonly #memory = new MemoryBudget(MAX_LEASE_MEMORY_BYTES);
  readonly #turns = new TurnBudget();
  /** Streams that wait for their turn. */
  #waiting = 0;

  constructor(leases: Leases, logger: Logger) {
    this.#leases = leases;
    this.#app = fastify({
      bodyLimit: MAX_FORWARD_BODY_BYTES,
      http: { maxHeaderSize: MAX_HEADER_BYTES },
      // A lease lives as long as its stream: an idle one must not be ended.
      keepAliveTimeout: 0,
    });
    readBodies(this.#app, (text, { routeOptions }) =>
      // A whole lease stays text until its turn comes.
      routeOptions.url === LEASE_RESOURCE ? text : parseJson('the body', text, MAX_FORWARD_VALUES),
    );
    // That a guest's forwards fail is said where that is found.
    reportErrors(this.#app, logger, 'debug');
    this.#app.addHook('onRequest', async (request, reply) => {
      const call = this.#begin(request);
      reply.raw.once('finish', () => settle(call));
      if (call.refused) throw tooMuch();
      await this.#turns.turn();
    });
    this.#app.addHook('onSend', async (request, _reply, payload) =>
      this.#countAnswer(request, payload as string | undefined),
    );
    serveVpnkit(this.#app, (request) => targetOf(this.#callOf(request)));
    this.#app.put(LEASE_RESOURCE, { bodyLimit: MAX_LEASE_BODY_BYTES }, (request, reply) =>
      this.#setLease(request, reply),
    );
  }

  /** Resolves when streams can be accepted. */
  async ready(): Promise<void> {
    await this.#app.ready();
  }

  /**
   * Takes a stream that the guest has opened to the service, and serves one lease on it until it ends. Leases, what
   * they send and what they ask for have their turns, so that a guest with thousands keeps nobody waiting.
   */
  accept(stream: Stream): void {
    if (this.#closed || this.#waiting >= this.#leases.maxLeases) {
      this.#refuse(stream);
      return;
    }
    this.#waiting++;
    this.#turns.run(() => {
      this.#waiting--;
      if (!stream.over) this.#accept(stream);
    });
  }

  #refuse(stream: Stream): void {
    const message = this.#closed
      ? 'the host is stopping'
      : `the host has ${this.#leases.maxLeases} leases, which are as many as it takes`;
    stream.refuse('policy', { code: 'EAGAIN', message });
  }

  #accept(stream: Stream): void {
    const lease = this.#closed ? undefined : this.#leases.open();
    if (!lease) {
      this.#refuse(stream);
      return;
    }
    const accepted = (handler: StreamHandler): Stream => {
      stream.accept(handler);
      stream.reportConnected(0);
      return stream;
    };
    const duplex = new StreamDuplex(accepted, (give) => this.#turns.run(give));
    const client: Client = { duplex, lease, unanswered: new Set(), turn: Promise.resolve() };
    this.#clients.set(duplex, client);
    // How the stream ended makes no difference to the lease.
    duplex.on('error', () => {});
    duplex.on('close', () => {
      this.#clients.delete(duplex);
      for (const cost of client.unanswered) settle({ client, cost });
      void lease.end();
    });
    this.#app.server.emit('connection', duplex);
  }

  /** Ends all leases, and gives no more. */
  close(): void {
    this.#closed = true;
    for (const duplex of this.#clients.keys()) duplex.destroy(new Error('the host was told to stop'));
    void this.#app.close();
  }

  /** Before a body is read: one client, and all of them together, can have the host keep only so much. */
  #begin(request: FastifyRequest): Call {
    const client = this.#clients.get(request.raw.socket);
    if (!client) throw ended();
    const cost = this.#memory.reserve();
    const refused = !cost.grow(REQUEST_BYTES + mostBodyBytes(request));
    // What is refused is not in the budget until the guest has read so: one of it costs little, many cost much.
    const most = refused ? 1 : MAX_LEASE_REQUESTS;
    if (client.unanswered.size >= most) {
      cost.letGo();
      const error = new OperationError(`more than ${formatCount(most, 'request')} at once`);
      client.duplex.destroy(error);
      throw error;
    }
    client.unanswered.add(cost);
    const call = { client, cost, refused };
    this.#calls.set(request.raw, call);
    return call;
  }

  #callOf(request: FastifyRequest): Call {
    return this.#calls.get(request.raw) as Call;
  }

  /** What an answer has beyond ANSWER_BYTES costs its length until the guest takes it: a short request can have a long one. */
  #countAnswer(request: FastifyRequest, payload = ''): void {
    const more = Buffer.byteLength(payload) - ANSWER_BYTES;
    if (more <= 0) return;
    if (!this.#callOf(request).cost.grow(more)) throw tooMuch();
  }

  /** One at a time is made of a lease's bodies what takes far more memory than their text. */
  #setLease(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const call = this.#callOf(request);
    const { client } = call;
    const set = (): Promise<unknown> => {
      if (client.duplex.destroyed) throw ended();
      return client.lease.set(readLease(request, reply, call.cost));
    };
    const outcome = client.turn.then(() => this.#turns.turn()).then(() => working(call, set));
    client.turn = outcome.catch(() => undefined);
    return outcome;
  }
}

/** Makes objects of a body; whoever sends what is no JSON has lost the thread, and its lease ends. */
function readLease(request: FastifyRequest, reply: FastifyReply, cost: Reservation): unknown {
  const text = request.body as Buffer;
  request.body = undefined;
  try {
    const values = countJsonValues('the body', text, MAX_LEASE_VALUES);
    if (!cost.grow(values * JSON_VALUE_BYTES)) throw tooMuch();
    return parseCountedJson('the body', text);
  } catch (thrown) {
    reply.header('connection', 'close');
    throw thrown;
  }
}

/** What a request's body may have, by what its headers say. */
function mostBodyBytes(request: FastifyRequest): number {
  const limit = bodyLimitOf(request);
  const { 'content-length': length = 0, 'transfer-encoding': encoding } = request.headers;
  return encoding === undefined ? Math.min(Number(length), limit) : limit;
}

/** Does what a request asks for. What it costs is counted until that is done, also when its stream ends before. */
async function working<T>({ cost }: Call, work: () => Promise<T>): Promise<T> {
  cost.hold();
  try {
    return await work();
  } finally {
    cost.letGo();
  }
}

/** The request has been answered, or nobody waits for that any more. */
function settle({ client, cost }: Pick<Call, 'client' | 'cost'>): void {
  if (client.unanswered.delete(cost)) cost.letGo();
}

function targetOf(call: Call): VpnkitTarget {
  const { lease } = call.client;
  return {
    expose: (body) => working(call, () => lease.expose(body)),
    unexpose: (body) => working(call, () => lease.unexpose(body)),
    list: () => lease.list(),
  };
}

function ended(): OperationError {
  return new OperationError('the stream of this lease has ended');
}

function tooMuch(): Overloaded {
  return new Overloaded('the host has too many requests at once: ask again');
}
