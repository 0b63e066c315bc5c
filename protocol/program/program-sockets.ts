import { describeSockets, type SocketReport } from '../socket/socket-report.js';
import { startSockets } from '../socket/start.js';
import type { Logger } from './logger.js';

/**
 * Settles which sockets a program uses, and says so, once: as a warning where something is not as it should be.
 * @param keepAliveSeconds as startSockets() has it
 * @throws OperationError when no kind of socket works
 */
export async function startProgramSockets(logger: Logger, keepAliveSeconds?: number): Promise<SocketReport> {
  const sockets = await startSockets(keepAliveSeconds);
  const asItShouldBe = sockets.kind === 'handles' && sockets.resetsAtDeath;
  logger[asItShouldBe ? 'info' : 'warn']({ sockets }, `sockets: ${describeSockets(sockets)}`);
  return sockets;
}
