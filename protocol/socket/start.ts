import { OperationError } from '../errors.js';
import { type Handles, handles } from './handles.js';
import { DEFAULT_KEEP_ALIVE_SECONDS } from './keep-alive.js';
import { testSockets } from './self-test.js';
import { settings } from './settings.js';
import { canSetOptions } from './socket-options.js';
import type { SocketReport } from './socket-report.js';

/** The self-test is made once in a process. */
let chosen: Promise<Pick<SocketReport, 'kind' | 'reason'>> | undefined;

/**
 * Finds out which sockets work on this Node, and makes all new ones of this process so. To be called before the
 * first is made; it takes a few milliseconds, once.
 * @param keepAliveSeconds silence after which the kernel asks whether a TCP peer is there; 0: never
 * @throws OperationError when no kind of socket works
 */
export async function startSockets(keepAliveSeconds = DEFAULT_KEEP_ALIVE_SECONDS): Promise<SocketReport> {
  settings.keepAliveSeconds = keepAliveSeconds;
  chosen ??= chooseKind(handles);
  const { kind, reason } = await chosen;
  if (kind === 'node:net') settings.internals = null;
  return { kind, ...(reason !== undefined && { reason }), resetsAtDeath: canSetOptions() };
}

/**
 * @param found the interface that handles need; null where this Node has none
 * @throws OperationError when no kind of socket works
 */
export async function chooseKind(
  found: Handles | null,
  test = testSockets,
): Promise<Pick<SocketReport, 'kind' | 'reason'>> {
  const handlesFail = found ? await test(found) : 'this Node does not offer them';
  if (handlesFail === undefined) return { kind: 'handles' };
  const nodeFails = await test(null);
  if (nodeFails === undefined) return { kind: 'node:net', reason: handlesFail };
  throw new OperationError(
    `sockets do not work on Node ${process.version}: ${nodeFails}; with handles: ${handlesFail}; use a release of Node that portferry supports`,
  );
}
