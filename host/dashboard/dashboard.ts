import { once } from 'node:events';
import type net from 'node:net';
import type { FastifyInstance } from 'fastify';
import { errnoOf } from '../../protocol/errors.js';
import type { Logger } from '../../protocol/program/logger.js';
import { systemFailure } from '../../protocol/transport/advice.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import type { DashboardReport } from '../control/dashboard-switch.js';
import { Door } from '../control/door.js';
import type { ControlTarget } from '../control/server.js';
import { type DashboardAddress, DEFAULT_ADDRESS_TEXT } from './address.js';
import { Guard } from './guard.js';
import { keepToken } from './token.js';

export interface DashboardOptions {
  target: ControlTarget;
  /** The file that keeps the token. */
  tokenPath: string;
  /** Gives the dashboard its share of file descriptors, as connections. */
  descriptors: { takeDashboard(): number };
  logger: Logger;
}

/** A dashboard that listens. */
export interface Dashboard {
  readonly report: DashboardReport;
  /** Stops answering, whoever is connected. */
  close(): Promise<void>;
}

/**
 * Listens for browsers. What answers them is loaded when the first one comes.
 * @throws OperationError when it cannot listen, or the token cannot be kept
 */
export async function openDashboard(
  address: DashboardAddress,
  { target, tokenPath, descriptors, logger }: DashboardOptions,
): Promise<Dashboard> {
  const token = keepToken(tokenPath);
  const door = new Door('the dashboard', () => make(), logger);
  await listen(door.server, address, logger);
  const { port } = door.server.address() as net.AddressInfo;
  door.server.on('error', (err) => logger.error({ err }, 'the dashboard cannot accept browsers'));
  const guard = new Guard(token, address.ip, port);
  const maxConnections = descriptors.takeDashboard();
  const make = async (): Promise<FastifyInstance> => {
    const [{ makeDashboardApp }, { readPageFiles }] = await Promise.all([
      import('./server.js'),
      import('./page-files.js'),
    ]);
    return makeDashboardApp(target, { guard, page: readPageFiles(), maxConnections, logger });
  };
  const origin = `http://${formatHostPort(address.ip, port)}`;
  logger.info(`the dashboard is at ${origin}/; 'portferry dashboard' opens it`);
  return { report: { origin, address: `${origin}/#token=${token}` }, close: () => door.close() };
}

async function listen(
  server: net.Server,
  { ip, port, orAny }: DashboardAddress,
  logger: Logger,
): Promise<void> {
  try {
    await once(server.listen(port, ip), 'listening');
  } catch (thrown) {
    if (!orAny || errnoOf(thrown) !== 'EADDRINUSE')
      throw systemFailure(`the dashboard cannot listen on ${formatHostPort(ip, port)}`, thrown);
    logger.warn(
      `${DEFAULT_ADDRESS_TEXT} is taken: the dashboard takes another port; --dashboard=HOST:PORT chooses one`,
    );
    await listen(server, { ip, port: 0, orAny: false }, logger);
  }
}
