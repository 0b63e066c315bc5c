import { loadCalls } from './c-calls.js';
import { loadKoffi } from './koffi.js';

/** The calls of the C library by which a socket of AF_VSOCK is made, which Node cannot. -1 is a failure. */
export interface VsockCalls {
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, address: Buffer, bytes: number): number;
  connect(fd: number, address: Buffer, bytes: number): number;
  /** @param bytes an int: how many `into` has, and then how many it got */
  getpeername(fd: number, into: Buffer, bytes: Buffer): number;
  getsockopt(fd: number, level: number, name: number, value: Buffer, bytes: Buffer): number;
  epollCreate(flags: number): number;
  epollControl(epoll: number, operation: number, fd: number, event: Buffer): number;
  close(fd: number): number;
  /** Of the last call that returned -1. */
  errno(): number;
}

/**
 * The calls, or null where they are not to be had: AF_VSOCK is Linux's, and koffi has no build for some machines.
 * @param load brings koffi, or throws
 */
export function loadVsockCalls(
  platform: NodeJS.Platform = process.platform,
  load: () => unknown = loadKoffi,
): VsockCalls | null {
  if (platform !== 'linux') return null;
  return loadCalls(load, (libc, koffi) => ({
    socket: libc.func('int socket(int family, int type, int protocol)'),
    bind: libc.func('int bind(int fd, const void *address, uint32_t bytes)'),
    connect: libc.func('int connect(int fd, const void *address, uint32_t bytes)'),
    getpeername: libc.func('int getpeername(int fd, void *into, void *bytes)'),
    getsockopt: libc.func('int getsockopt(int fd, int level, int name, void *value, void *bytes)'),
    epollCreate: libc.func('int epoll_create1(int flags)'),
    epollControl: libc.func('int epoll_ctl(int epoll, int operation, int fd, void *event)'),
    close: libc.func('int close(int fd)'),
    errno: () => koffi.errno(),
  }));
}
