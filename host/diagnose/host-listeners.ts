import { messageOf } from '../../protocol/errors.js';
import { findHolders, readProcNet } from '../../protocol/machine/proc-net.js';
import type { Finding, ListenerReport } from '../../protocol/services/inspect.js';
import { runLsof } from '../listen/lsof.js';

/** lsof may hang on dead network mounts (ms). */
const LSOF_TIMEOUT_MS = 5_000;

/** Where it is looked; the defaults are this machine. */
export interface ListenerSources {
  platform: NodeJS.Platform;
  /** Linux: the mounted proc file system. */
  proc: string;
  /** macOS: the lsof program. */
  lsof: string;
}

const here: ListenerSources = { platform: process.platform, proc: '/proc', lsof: '/usr/sbin/lsof' };

/** What listens on a port of this host, on whichever address, with the process that has it where the OS tells. */
export async function findListeners(
  proto: 'tcp' | 'udp',
  port: number,
  sources: Partial<ListenerSources> = {},
): Promise<Finding<ListenerReport[]>> {
  const { platform, proc, lsof } = { ...here, ...sources };
  try {
    return { found: await (platform === 'linux' ? readProc(proc, proto, port) : askLsof(lsof, proto, port)) };
  } catch (thrown) {
    return { unseen: `the listeners of this host cannot be read: ${messageOf(thrown)}` };
  }
}

async function readProc(proc: string, proto: 'tcp' | 'udp', port: number): Promise<ListenerReport[]> {
  const sockets = (await readProcNet(`${proc}/net`, proto)).filter((socket) => socket.port === port);
  const holders = await findHolders(
    sockets.map(({ inode }) => inode),
    proc,
  );
  return sockets.map(({ ip, inode }) => ({ proto, ip, port, ...holders.get(inode) }));
}

async function askLsof(lsof: string, proto: 'tcp' | 'udp', port: number): Promise<ListenerReport[]> {
  const sockets = await runLsof(lsof, proto, LSOF_TIMEOUT_MS, port).catch((thrown: { code?: unknown }) => {
    // It ends with 1 where it has found nothing.
    if (thrown.code === 1) return [];
    throw thrown;
  });
  return sockets.map(({ ip, pid, command }) => ({ proto, ip, port, pid, command }));
}
