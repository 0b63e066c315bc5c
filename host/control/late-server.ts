import net from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Logger } from '../../protocol/program/logger.js';
import type { Stream } from '../../protocol/stream.js';
import { listenOnUnixPath } from '../../protocol/transport/unix-path.js';
import type { Leases } from '../forwards/leases.js';
import type { ConnectionLimits } from './connections.js';
import type { LeaseServer } from './lease-server.js';
import type { ControlTarget } from './server.js';

/**
 * The control API and the service for guests, loaded when somebody comes: what they are made of takes more memory,
 * and more time to load, than all the rest of a host that nobody asks for anything.
 */

export interface ControlServer {
  /** Stops answering, whoever is connected. */
  close(): Promise<void>;
}

const SOCKET_MODE = 0o600;

/**
 * Serves the control API on a unix socket of mode 0600; its folder is made, with mode 0700, if need be.
 * @throws OperationError when the socket cannot be listened on
 */
export async function startControlServer(
  target: ControlTarget,
  path: string,
  logger: Logger,
  limits: ConnectionLimits = {},
  load = (): Promise<Pick<typeof import('./server.js'), 'makeControlApp'>> => import('./server.js'),
): Promise<ControlServer> {
  let made: Promise<FastifyInstance> | undefined;
  const make = async (): Promise<FastifyInstance> => (await load()).makeControlApp(target, logger, limits);
  // Half-open as an http.Server's; and nobody is read from before there is one who reads.
  const door = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    made ??= make();
    made.then(
      (app) => {
        app.server.emit('connection', socket);
        socket.resume();
      },
      (err) => {
        made = undefined;
        logger.error({ err }, 'the control API cannot be loaded; it is tried again with the next client');
        socket.destroy();
      },
    );
  });
  await listenOnUnixPath(door, path, SOCKET_MODE);
  door.on('error', (err) => logger.error({ err }, 'the control API cannot accept clients'));
  return {
    close: async () => {
      const closed = new Promise((resolve) => door.close(resolve));
      const app = await made;
      await Promise.all([closed, app?.close()]);
    },
  };
}

/** The service portferry:control: see LeaseServer. */
export class LateLeaseServer {
  readonly #leases: Leases;
  readonly #logger: Logger;
  #made: Promise<LeaseServer> | undefined;
  #closed = false;

  constructor(leases: Leases, logger: Logger) {
    this.#leases = leases;
    this.#logger = logger;
  }

  /** Takes a stream that the guest has opened to the service, and serves one lease on it until it ends. */
  async accept(stream: Stream): Promise<void> {
    this.#made ??= this.#make();
    (await this.#made).accept(stream);
  }

  /** Ends all leases, and gives no more. */
  close(): void {
    this.#closed = true;
    void this.#made?.then((server) => server.close());
  }

  async #make(): Promise<LeaseServer> {
    const { LeaseServer } = await import('./lease-server.js');
    const server = new LeaseServer(this.#leases, this.#logger);
    await server.ready();
    if (this.#closed) server.close();
    return server;
  }
}
