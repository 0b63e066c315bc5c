import { findHolders, readProcNet } from '../../protocol/machine/proc-net.js';
import { addressesOverlap } from '../rule/forward-rule.js';
import { runLsof } from './lsof.js';

/** A socket that keeps others from its port, as the OS lists it. */
interface BoundSocket {
  ip: string;
  port: number;
  /** Linux: what the links in /proc/PID/fd name. */
  inode?: string;
  uid?: number;
  pid?: number;
  command?: string;
}

/** Where the OS is asked; the defaults are this machine. */
export interface PortOwnerSources {
  platform: NodeJS.Platform;
  /** Linux: the mounted proc file system. */
  proc: string;
  /** macOS: the lsof program. */
  lsof: string;
  /** macOS: a process whose sockets do not count. */
  except: number;
}

/** lsof may hang on dead network mounts (ms); the name of an owner is not worth waiting longer for. */
const LSOF_TIMEOUT_MS = 2_000;

const thisMachine: PortOwnerSources = {
  platform: process.platform,
  proc: '/proc',
  lsof: '/usr/sbin/lsof',
  except: 0,
};

/** An address that somebody wants to listen on, and cannot. UDP and TCP have ports of their own. */
export interface WantedAddress {
  readonly proto: 'tcp' | 'udp';
  readonly ip: string;
  readonly port: number;
}

/**
 * The processes that keep others from listening on some addresses, in words: `nginx (pid 4711)`, or the user it
 * belongs to when the OS shows no more than that; undefined when it shows nothing. It looks once at all
 * processes, for however many addresses: on a machine with many sockets that takes a tenth of a second.
 */
export async function findPortOwners(
  addresses: readonly WantedAddress[],
  sources: Partial<PortOwnerSources> = {},
): Promise<(string | undefined)[]> {
  const { platform, proc, lsof, except } = { ...thisMachine, ...sources };
  try {
    const sockets = await readSockets(new Set(addresses.map(({ proto }) => proto)), (proto) =>
      platform === 'linux' ? readProcNet(`${proc}/net`, proto) : runLsof(lsof, proto, LSOF_TIMEOUT_MS),
    );
    const holders = addresses.map(({ proto, ip, port }) =>
      sockets.get(`${proto} ${port}`)?.find((socket) => socket.pid !== except && isInTheWay(socket.ip, ip)),
    );
    if (platform === 'linux') await addProcesses(holders, proc);
    return holders.map((holder) => holder && describeOwner(holder));
  } catch {
    // No lsof, no proc, or not for us to read: the failure is reported without the owner's name.
    return addresses.map(() => undefined);
  }
}

/** By protocol and port. */
async function readSockets(
  protos: ReadonlySet<'tcp' | 'udp'>,
  read: (proto: 'tcp' | 'udp') => Promise<BoundSocket[]>,
): Promise<Map<string, BoundSocket[]>> {
  const sockets = new Map<string, BoundSocket[]>();
  for (const proto of protos)
    for (const socket of await read(proto)) {
      const key = `${proto} ${socket.port}`;
      const others = sockets.get(key);
      if (others) others.push(socket);
      else sockets.set(key, [socket]);
    }
  return sockets;
}

/** Another process's `::` may stand for both families. */
function isInTheWay(held: string, wanted: string): boolean {
  return held === '::' || addressesOverlap(held, wanted);
}

function describeOwner({ pid, command, uid }: BoundSocket): string {
  return command === undefined ? `a process of user id ${uid}` : `${command} (pid ${pid})`;
}

/** Adds to each socket the process that has it open, if it is one whose descriptors we may see. */
async function addProcesses(sockets: readonly (BoundSocket | undefined)[], proc: string): Promise<void> {
  const holders = await findHolders(
    sockets.flatMap((socket) => (socket ? [String(socket.inode)] : [])),
    proc,
  );
  for (const socket of sockets) if (socket) Object.assign(socket, holders.get(String(socket.inode)));
}
