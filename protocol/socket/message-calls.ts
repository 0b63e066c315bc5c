import { loadCalls } from './c-calls.js';
import { loadKoffi } from './koffi.js';

/** The calls of the C library by which datagrams are had with the address that they were sent to. */
export interface MessageCalls {
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, address: Buffer, bytes: number): number;
  getsockname(fd: number, into: Buffer, bytes: Buffer): number;
  setsockopt(fd: number, level: number, name: number, value: Buffer, bytes: number): number;
  recvmsg(fd: number, message: Buffer, flags: number): number;
  sendmsg(fd: number, message: Buffer, flags: number): number;
  close(fd: number): number;
  /** Where memory lies, for the structures that point to it. It must be kept alive as long as they are used. */
  addressOf(memory: Buffer): bigint;
  /** Of the last call that returned -1. */
  errno(): number;
}

/** Whose structures packet-info-socket.ts knows: Linux's on 64 bits, the lower byte first. */
const KNOWN_MACHINES: readonly string[] = ['linux x64', 'linux arm64'];

/** The calls, or null where they or the machine's structures are not known. */
export const messageCalls: MessageCalls | null = loadMessageCalls();

/**
 * @param machine platform and architecture
 * @param load brings koffi, or throws
 */
export function loadMessageCalls(
  machine = `${process.platform} ${process.arch}`,
  load: () => unknown = loadKoffi,
): MessageCalls | null {
  if (!KNOWN_MACHINES.includes(machine)) return null;
  // Without them node:dgram does, which does not tell such addresses.
  return loadCalls(load, (libc, koffi) => ({
    socket: libc.func('int socket(int family, int type, int protocol)'),
    bind: libc.func('int bind(int fd, const void *address, uint32_t bytes)'),
    getsockname: libc.func('int getsockname(int fd, void *into, void *bytes)'),
    setsockopt: libc.func('int setsockopt(int fd, int level, int name, const void *value, uint32_t bytes)'),
    recvmsg: libc.func('int64_t recvmsg(int fd, void *message, int flags)'),
    sendmsg: libc.func('int64_t sendmsg(int fd, const void *message, int flags)'),
    close: libc.func('int close(int fd)'),
    addressOf: (memory) => koffi.address(memory),
    errno: () => koffi.errno(),
  }));
}
