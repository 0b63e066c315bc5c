import { loadCalls } from './c-calls.js';
import type { TcpHandle } from './handles.js';
import { loadKoffi } from './koffi.js';

/** Linux's numbers: sys/socket.h, asm-generic/socket.h. */
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;

/** The calls of the C library by which a handle gets a socket before it connects. */
export interface SocketCalls {
  socket(family: number, type: number, protocol: number): number;
  close(fd: number): number;
}

/** Of this process; null where koffi has no build for the machine, or the numbers are not known. */
export const socketCalls: SocketCalls | null = loadSocketCalls();

/** @param load brings koffi, or throws */
export function loadSocketCalls(
  platform: NodeJS.Platform = process.platform,
  load: () => unknown = loadKoffi,
): SocketCalls | null {
  if (platform !== 'linux') return null;
  return loadCalls(load, (libc) => ({
    socket: libc.func('int socket(int family, int type, int protocol)'),
    close: libc.func('int close(int fd)'),
  }));
}

/**
 * Gives a TCP handle its socket, which libuv would make only when it connects. To a server near by it is connected
 * within that very call: who sets an option after it, and is killed in between, has the server see a clean end.
 * @returns whether it has one; connecting makes one, or says why there can be none, where it has not
 */
export function openTcp(handle: TcpHandle, ipv6: boolean, calls: SocketCalls | null = socketCalls): boolean {
  if (!calls) return false;
  const fd = calls.socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  if (handle.open(fd) === 0) return true;
  calls.close(fd);
  return false;
}
