import { execFile } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { endianness } from 'node:os';
import { promisify } from 'node:util';
import ipaddr from 'ipaddr.js';
import { addressesOverlap } from '../rule/forward-rule.js';

/** A socket that keeps others from its port, as the OS lists it. */
export interface BoundSocket {
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

/** The state in /proc/net/tcp of a socket that listens; one of UDP has its port in every state. */
const LISTEN = '0A';
/** lsof may hang on dead network mounts (ms); the name of an owner is not worth waiting longer for. */
const LSOF_TIMEOUT_MS = 2_000;
/** What lsof may write: some 100,000 sockets. */
const MAX_LSOF_BYTES = 4 * 1024 * 1024;
/** Descriptors that are looked at together: what else waits for the threads of libuv is not to wait for long. */
const LINKS_AT_ONCE = 64;
/** Processes that are looked at together: one by one, a busy event loop would make each of them wait. */
const PROCESSES_AT_ONCE = 16;

const run = promisify(execFile);

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
      platform === 'linux' ? readProc(proc, proto) : runLsof(lsof, proto),
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

async function runLsof(lsof: string, proto: 'tcp' | 'udp'): Promise<BoundSocket[]> {
  const which = proto === 'tcp' ? ['-iTCP', '-sTCP:LISTEN'] : ['-iUDP'];
  const args = ['-nP', ...which, '-Fpcnt'];
  const { stdout } = await run(lsof, args, { timeout: LSOF_TIMEOUT_MS, maxBuffer: MAX_LSOF_BYTES });
  return parseLsof(stdout);
}

function describeOwner({ pid, command, uid }: BoundSocket): string {
  return command === undefined ? `a process of user id ${uid}` : `${command} (pid ${pid})`;
}

/** The sockets in `lsof -Fpcnt` output: lines p<pid>, c<command>, and per file f<fd>, t<type> and n<name>. */
export function parseLsof(output: string): BoundSocket[] {
  const sockets: BoundSocket[] = [];
  let pid = 0;
  let command = '';
  let type = '';
  for (const line of output.split('\n')) {
    const value = line.slice(1);
    if (line.startsWith('p')) pid = Number(value);
    if (line.startsWith('c')) command = value;
    if (line.startsWith('t')) type = value;
    // A connected UDP socket's name has its peer behind an arrow.
    const name = line.startsWith('n') ? /^(.*?):(\d+)(->.*)?$/.exec(value) : null;
    if (!name) continue;
    const [, address = '', port] = name;
    // "*" of IPv6 may stand for both families; it is in the way of either.
    const ip = address === '*' ? (type === 'IPv4' ? '0.0.0.0' : '::') : address.replace(/^\[|\]$/g, '');
    sockets.push({ ip, port: Number(port), pid, command });
  }
  return sockets;
}

/**
 * The sockets in the text of /proc/net/tcp, tcp6, udp or udp6, of TCP's only those that listen: addresses are
 * hexadecimal, each 32 bits of them in the machine's byte order.
 */
export function parseProcNet(
  text: string,
  proto: 'tcp' | 'udp',
  littleEndian = endianness() === 'LE',
): BoundSocket[] {
  const sockets: BoundSocket[] = [];
  for (const line of text.split('\n').slice(1)) {
    const [, local = '', , state, , , , uid, , inode = ''] = line.trim().split(/\s+/);
    const [address = '', port = ''] = local.split(':');
    if (address === '' || (proto === 'tcp' && state !== LISTEN)) continue;
    const bytes = Buffer.from(address, 'hex');
    if (littleEndian) bytes.swap32();
    const ip = ipaddr.process(ipaddr.fromByteArray([...bytes]).toString()).toString();
    sockets.push({ ip, port: Number.parseInt(port, 16), uid: Number(uid), inode });
  }
  return sockets;
}

async function readProc(proc: string, proto: 'tcp' | 'udp'): Promise<BoundSocket[]> {
  // A kernel without IPv6 has no tcp6 and udp6.
  const texts = await Promise.all([
    readFile(`${proc}/net/${proto}`, 'utf8'),
    readFile(`${proc}/net/${proto}6`, 'utf8').catch(() => ''),
  ]);
  return texts.flatMap((text) => parseProcNet(text, proto));
}

/** Adds to each socket the process that has it open, if it is one whose descriptors we may see. */
async function addProcesses(sockets: readonly (BoundSocket | undefined)[], proc: string): Promise<void> {
  const byLink = new Map<string, BoundSocket>();
  for (const socket of sockets) if (socket) byLink.set(`socket:[${socket.inode}]`, socket);
  const names = byLink.size > 0 ? await readdir(proc) : [];
  const processes = names.filter((name) => /^\d+$/.test(name));
  for (let start = 0; start < processes.length && byLink.size > 0; start += PROCESSES_AT_ONCE)
    await Promise.all(
      processes.slice(start, start + PROCESSES_AT_ONCE).map((pid) => addProcess(byLink, proc, pid)),
    );
}

/** Takes the sockets that a process has open out of `byLink`, and adds it to them. */
async function addProcess(byLink: Map<string, BoundSocket>, proc: string, pid: string): Promise<void> {
  const found = await findOpen(`${proc}/${pid}/fd`, byLink);
  if (found.length === 0) return;
  const command = await readFile(`${proc}/${pid}/comm`, 'utf8').catch(() => 'a process');
  for (const link of found) {
    const socket = byLink.get(link);
    // Of several that have inherited it one is enough.
    if (socket) Object.assign(socket, { pid: Number(pid), command: command.trim() });
    byLink.delete(link);
  }
}

/** @returns which of the links are in a folder of descriptors */
async function findOpen(folder: string, links: ReadonlyMap<string, unknown>): Promise<string[]> {
  // Processes end while they are looked at, and those of other users cannot be looked into.
  const descriptors = await readdir(folder).catch(() => []);
  const found: string[] = [];
  for (let start = 0; start < descriptors.length; start += LINKS_AT_ONCE) {
    const some = descriptors.slice(start, start + LINKS_AT_ONCE);
    const read = await Promise.all(some.map((fd) => readlink(`${folder}/${fd}`).catch(() => '')));
    found.push(...read.filter((link) => links.has(link)));
  }
  return found;
}
