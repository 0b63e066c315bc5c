import type { IncomingMessage } from 'node:http';
import type net from 'node:net';
import fastify, { type FastifyInstance } from 'fastify';
import type { Logger } from '../../protocol/program/logger.js';
import { Connections } from '../control/connections.js';
import { EventServer, refuseUpgrade } from '../control/event-server.js';
import { reportErrors } from '../control/json-api.js';
import { type ControlTarget, refuseBeyond, serveReports } from '../control/server.js';
import type { Guard } from './guard.js';
import type { PageFile } from './page-files.js';

/** A browser's headers take some hundred bytes; an address and a token are all that is long in them. */
const MAX_HEADER_BYTES = 8 * 1024;

/** Of the connections so many may be WebSockets: the rest is for the page itself, and for what it asks. */
const WATCHERS_SHARE = 1 / 2;

const POLICY = [
  "default-src 'none'",
  ...['script', 'style', 'connect', 'img'].map((kind) => `${kind}-src 'self'`),
  ...['base-uri', 'form-action', 'frame-ancestors'].map((kind) => `${kind} 'none'`),
  // Text from outside cannot become markup, whatever the page's code does.
  "require-trusted-types-for 'script'",
].join('; ');

const HEADERS = {
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  // For browsers that do not know frame-ancestors.
  'x-frame-options': 'DENY',
  'cache-control': 'no-store',
} as const;

/** A year (s), which is as much as there is: of what never changes under its name. */
const LASTING = 'max-age=31536000, immutable';

export interface DashboardApp {
  guard: Guard;
  page: ReadonlyMap<string, PageFile>;
  /** Connections at once: each takes a file descriptor. */
  maxConnections: number;
  /** How long (ms) a connection may be idle; default: as for the control API. */
  idleMs?: number;
  logger: Logger;
}

/** What answers browsers on connections that it is given. It only shows; nothing can be changed by it. */
export async function makeDashboardApp(
  target: ControlTarget,
  options: DashboardApp,
): Promise<FastifyInstance> {
  const { guard, page, logger, ...limits } = options;
  // As for the control API, connections that are idle, or slow, are looked after by Connections.
  const app = fastify({ keepAliveTimeout: 0, http: { maxHeaderSize: MAX_HEADER_BYTES } });
  const connections = new Connections(app.server, logger, limits);
  refuseBeyond(app, connections);
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(HEADERS);
    const [path = ''] = request.url.split('?', 1);
    const refusal = page.has(path) ? guard.refusalOf(request.raw) : guard.refusalOfReport(request.raw);
    if (!refusal) return;
    if (refusal.status === 405) reply.header('allow', 'GET');
    // Who is refused may have sent a body, which nobody is going to read.
    await reply.code(refusal.status).header('connection', 'close').send({ message: refusal.message });
  });
  reportErrors(app, logger, 'debug');
  for (const [path, { type, content, lasting }] of page)
    app.get(path, async (_request, reply) => {
      if (lasting) reply.header('cache-control', LASTING);
      return reply.type(type).send(content);
    });
  serveReports(app, target);
  serveGuardedEvents(app, target, connections, options);
  await app.ready();
  return app;
}

function serveGuardedEvents(
  app: FastifyInstance,
  target: ControlTarget,
  connections: Connections,
  { guard, maxConnections }: DashboardApp,
): void {
  const events = new EventServer(target, {
    maxSubscribers: Math.ceil(maxConnections * WATCHERS_SHARE),
    // The guard knows better, by the whole request.
    admitsOrigin: () => true,
  });
  app.server.on('upgrade', (request: IncomingMessage, socket: net.Socket, head: Buffer) => {
    connections.hold(socket);
    const refusal = guard.refusalOfReport(request);
    if (refusal) refuseUpgrade(socket, refusal);
    else events.upgrade(request, socket, head, connections.refusalOf(socket));
  });
  app.addHook('preClose', async () => {
    events.close();
    connections.close();
  });
}
