import { UsageError } from '../errors.js';
import { describeSockets, type SocketReport, startSockets } from '../socket/start.js';
import { DEFAULT_KEEP_ALIVE_SECONDS, MAX_KEEP_ALIVE_SECONDS } from '../socket/tcp-options.js';
import type { OptionDeclaration } from './declared-options.js';
import type { Logger } from './logger.js';

/** The option of both programs that says when the system is to ask whether a TCP peer is still there. */
export const KEEP_ALIVE_OPTION = {
  type: 'number',
  describe: `Seconds of silence after which the system asks whether a TCP peer is still there, up to ${MAX_KEEP_ALIVE_SECONDS}; 0: never`,
  defaultDescription: String(DEFAULT_KEEP_ALIVE_SECONDS),
} as const satisfies OptionDeclaration;

/**
 * Checks what `--keep-alive` says.
 * @throws UsageError when it is not a whole number that the system takes
 */
export function checkKeepAlive(seconds: number): number {
  if (Number.isInteger(seconds) && seconds >= 0 && seconds <= MAX_KEEP_ALIVE_SECONDS) return seconds;
  throw new UsageError(
    `--keep-alive ${seconds}: it must be whole seconds, from 1 to ${MAX_KEEP_ALIVE_SECONDS}, or 0 for never`,
  );
}

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
