import { readdir, readFile, readlink } from 'node:fs/promises';
import { endianness } from 'node:os';
import ipaddr from 'ipaddr.js';

/** A socket that listens, or, of UDP, that has a port, as Linux lists it. */
export interface ProcSocket {
  ip: string;
  port: number;
  uid: number;
  /** What the links in /proc/PID/fd name. */
  inode: string;
}

/** A process that has a socket open. */
export interface SocketHolder {
  pid: number;
  command: string;
}

/** The state in /proc/net/tcp of a socket that listens; one of UDP has its port in every state. */
const LISTEN = '0A';
/** Descriptors that are looked at together: what else waits for the threads of libuv is not to wait for long. */
const LINKS_AT_ONCE = 64;
/** Processes that are looked at together: one by one, a busy event loop would make each of them wait. */
const PROCESSES_AT_ONCE = 16;

/**
 * The sockets in the text of /proc/net/tcp, tcp6, udp or udp6 (proc_net(5)), of TCP's only those that listen:
 * addresses are hexadecimal, each 32 bits of them in the machine's byte order.
 */
export function parseProcNet(
  text: string,
  proto: 'tcp' | 'udp',
  littleEndian = endianness() === 'LE',
): ProcSocket[] {
  const sockets: ProcSocket[] = [];
  for (const line of text.split('\n').slice(1)) {
    const [, local = '', , state, , , , uid, , inode = ''] = line.trim().split(/\s+/);
    const [address = '', port = ''] = local.split(':');
    const bytes = Buffer.from(address, 'hex');
    if (![4, 16].includes(bytes.length) || (proto === 'tcp' && state !== LISTEN)) continue;
    if (littleEndian) bytes.swap32();
    const ip = ipaddr.process(ipaddr.fromByteArray([...bytes]).toString()).toString();
    sockets.push({ ip, port: Number.parseInt(port, 16), uid: Number(uid), inode });
  }
  return sockets;
}

/**
 * The sockets of a network.
 * @param folder /proc/net, or /proc/PID/net for the network of a process
 * @throws what the file system throws when it may not be read
 */
export async function readProcNet(folder: string, proto: 'tcp' | 'udp'): Promise<ProcSocket[]> {
  // A kernel without IPv6 has no tcp6 and udp6.
  const texts = await Promise.all([
    readFile(`${folder}/${proto}`, 'utf8'),
    readFile(`${folder}/${proto}6`, 'utf8').catch(() => ''),
  ]);
  return texts.flatMap((text) => parseProcNet(text, proto));
}

/**
 * Which processes have sockets open, of those whose descriptors we may see.
 * @param proc the mounted proc file system
 * @returns by inode; of several that have inherited a socket one is enough
 */
export async function findHolders(
  inodes: Iterable<string>,
  proc = '/proc',
): Promise<Map<string, SocketHolder>> {
  const wanted = new Set([...inodes].map((inode) => `socket:[${inode}]`));
  const holders = new Map<string, SocketHolder>();
  const names = wanted.size > 0 ? await readdir(proc) : [];
  const processes = names.filter((name) => /^\d+$/.test(name));
  for (let start = 0; start < processes.length && wanted.size > 0; start += PROCESSES_AT_ONCE)
    await Promise.all(
      processes
        .slice(start, start + PROCESSES_AT_ONCE)
        .map((pid) => takeOpenSockets(wanted, proc, pid, holders)),
    );
  return holders;
}

/** Takes the sockets that a process has open out of `wanted`, and notes it as their holder. */
async function takeOpenSockets(
  wanted: Set<string>,
  proc: string,
  pid: string,
  holders: Map<string, SocketHolder>,
): Promise<void> {
  const found = await findOpen(`${proc}/${pid}/fd`, wanted);
  if (found.length === 0) return;
  const command = await readFile(`${proc}/${pid}/comm`, 'utf8').catch(() => 'a process');
  for (const link of found) {
    const inode = link.slice('socket:['.length, -1);
    if (wanted.delete(link)) holders.set(inode, { pid: Number(pid), command: command.trim() });
  }
}

/** @returns which of the links are in a folder of descriptors */
async function findOpen(folder: string, links: ReadonlySet<string>): Promise<string[]> {
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
