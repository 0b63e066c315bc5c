import type { IncomingMessage } from 'node:http';
import type net from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Logger } from '../../protocol/program/logger.js';
import type { Connections } from './connections.js';
import { MAX_SUBSCRIBERS, type ObservedHost } from './event-hub.js';
import type { EventServer } from './event-server.js';

/** Subscribers leave so large a part of all control connections to others. */
const LEFT_TO_OTHERS = 1 / 2;

export interface EventContext {
  connections: Connections;
  /** Control connections at once. */
  maxConnections: number;
  logger: Logger;
}

/** Serves `/v1/events` beside an API; what WebSockets need is loaded when somebody asks for one. */
export function serveEvents(
  app: FastifyInstance,
  host: ObservedHost,
  { connections, maxConnections, logger }: EventContext,
  load = (): Promise<{ EventServer: typeof EventServer }> => import('./event-server.js'),
): void {
  const maxSubscribers = Math.min(MAX_SUBSCRIBERS, Math.ceil(maxConnections * LEFT_TO_OTHERS));
  let made: Promise<EventServer> | undefined;
  const make = async (): Promise<EventServer> => new (await load()).EventServer(host, { maxSubscribers });
  app.server.on('upgrade', (request: IncomingMessage, socket: net.Socket, head: Buffer) => {
    connections.hold(socket);
    made ??= make();
    made.then(
      (server) => server.upgrade(request, socket, head, connections.refusalOf(socket)),
      (err) => {
        made = undefined;
        logger.error(
          { err },
          'what events need cannot be loaded; it is tried again with the next subscriber',
        );
        socket.destroy();
      },
    );
  });
  app.addHook('preClose', async () => (await made)?.close());
}
