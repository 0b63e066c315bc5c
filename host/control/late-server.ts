import type { FastifyInstance } from 'fastify';
import type { Logger } from '../../protocol/program/logger.js';
import type { Stream } from '../../protocol/stream.js';
import { listenOnUnixPath } from '../../protocol/transport/unix-path.js';
import type { Leases } from '../forwards/leases.js';
import type { ConnectionLimits } from './connections.js';
import { Door } from './door.js';
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
  const make = async (): Promise<FastifyInstance> => (await load()).makeControlApp(target, logger, limits);
  const door = new Door('the control API', make, logger);
  await listenOnUnixPath(door.server, path, SOCKET_MODE);
  door.server.on('error', (err) => logger.error({ err }, 'the control API cannot accept clients'));
  return door;
}

/** The service portferry:control: see LeaseServer. */
export class LateLeaseServer {
  readonly #leases: Leases;
  readonly #logger: Logger;
  readonly #load: () => Promise<Pick<typeof import('./lease-server.js'), 'LeaseServer'>>;
  #made: Promise<LeaseServer> | undefined;
  #closed = false;

  constructor(
    leases: Leases,
    logger: Logger,
    load = (): Promise<Pick<typeof import('./lease-server.js'), 'LeaseServer'>> =>
      import('./lease-server.js'),
  ) {
    this.#leases = leases;
    this.#logger = logger;
    this.#load = load;
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
    const { LeaseServer } = await this.#load();
    const server = new LeaseServer(this.#leases, this.#logger);
    await server.ready();
    if (this.#closed) server.close();
    return server;
  }
}
