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
}

/** The state in /proc/net/tcp of a socket that listens; one of UDP has its port in every state. */
const LISTEN = '0A';
/** lsof may hang on dead network mounts (ms); the name of an owner is not worth waiting longer for. */
const LSOF_TIMEOUT_MS = 2_000;

const run = promisify(execFile);

const thisMachine: PortOwnerSources = { platform: process.platform, proc: '/proc', lsof: '/usr/sbin/lsof' };

/**
 * The process that keeps others from listening on an address, in words: `nginx (pid 4711)`, or the user it
 * belongs to when the OS shows no more than that; undefined when it shows nothing.
 * @param proto UDP and TCP have ports of their own
 */
export async function findPortOwner(
  ip: string,
  port: number,
  proto: 'tcp' | 'udp',
  sources: Partial<PortOwnerSources> = {},
): Promise<string | undefined> {
  const { platform, proc, lsof } = { ...thisMachine, ...sources };
  try {
    const sockets = platform === 'linux' ? await readProc(proc, proto) : await runLsof(lsof, port, proto);
    const holder = sockets.find((socket) => socket.port === port && isInTheWay(socket.ip, ip));
    if (!holder) return undefined;
    return describeOwner(platform === 'linux' ? await withProcess(holder, proc) : holder);
  } catch {
    // No lsof, no proc, or not for us to read: the failure is reported without the owner's name.
    return undefined;
  }
}

/** Another process's `::` may stand for both families. */
function isInTheWay(held: string, wanted: string): boolean {
  return held === '::' || addressesOverlap(held, wanted);
}

async function runLsof(lsof: string, port: number, proto: 'tcp' | 'udp'): Promise<BoundSocket[]> {
  const which = proto === 'tcp' ? [`-iTCP:${port}`, '-sTCP:LISTEN'] : [`-iUDP:${port}`];
  const args = ['-nP', ...which, '-Fpcn'];
  return parseLsof((await run(lsof, args, { timeout: LSOF_TIMEOUT_MS })).stdout);
}

function describeOwner({ pid, command, uid }: BoundSocket): string {
  return command === undefined ? `a process of user id ${uid}` : `${command} (pid ${pid})`;
}

/** The sockets in `lsof -Fpcn` output: lines p<pid>, c<command>, and per file f<fd> and n<name>. */
export function parseLsof(output: string): BoundSocket[] {
  const sockets: BoundSocket[] = [];
  let pid = 0;
  let command = '';
  for (const line of output.split('\n')) {
    const value = line.slice(1);
    if (line.startsWith('p')) pid = Number(value);
    if (line.startsWith('c')) command = value;
    // A connected UDP socket's name has its peer behind an arrow.
    const name = line.startsWith('n') ? /^(.*?):(\d+)(->.*)?$/.exec(value) : null;
    if (!name) continue;
    const [, address = '', port] = name;
    // "*" is 0.0.0.0 or ::, which lsof does not tell apart; it is in the way of either.
    const ip = address === '*' ? '::' : address.replace(/^\[|\]$/g, '');
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

/** Adds the process that has the socket open, if it is one whose descriptors we may see. */
async function withProcess(socket: BoundSocket, proc: string): Promise<BoundSocket> {
  const link = `socket:[${socket.inode}]`;
  for (const entry of await readdir(proc)) {
    if (!/^\d+$/.test(entry) || !(await hasOpen(`${proc}/${entry}/fd`, link))) continue;
    const command = await readFile(`${proc}/${entry}/comm`, 'utf8').catch(() => 'a process');
    return { ...socket, pid: Number(entry), command: command.trim() };
  }
  return socket;
}

async function hasOpen(folder: string, link: string): Promise<boolean> {
  // Processes end while they are looked at, and those of other users cannot be looked into.
  const descriptors = await readdir(folder).catch(() => []);
  const links = await Promise.all(descriptors.map((fd) => readlink(`${folder}/${fd}`).catch(() => '')));
  return links.includes(link);
}
