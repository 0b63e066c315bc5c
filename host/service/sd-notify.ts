import { loadCalls } from '../../protocol/socket/c-calls.js';
import { loadKoffi } from '../../protocol/socket/koffi.js';

/** Numbers of Linux's socket.h and un.h, the only system that has systemd. */
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const FAMILY_BYTES = 2;
const MAX_PATH_BYTES = 107;
const ABSTRACT = '@';

/** The calls of the C library that a notification takes. */
export interface NotifyCalls {
  socket(domain: number, type: number, protocol: number): number;
  sendto(fd: number, bytes: Buffer, length: number, flags: number, to: Buffer, toLength: number): number;
  close(fd: number): number;
}

/** Those calls; null where koffi has no build for the machine. */
export function loadNotifyCalls(load: () => unknown = loadKoffi): NotifyCalls | null {
  return loadCalls(load, (library) => ({
    socket: library.func('int socket(int domain, int type, int protocol)'),
    sendto: library.func(
      'long sendto(int fd, const void *bytes, size_t length, int flags, const void *to, uint32_t toLength)',
    ),
    close: library.func('int close(int fd)'),
  }));
}

/**
 * Tells systemd of a change, such as `READY=1`, by the datagram that sd_notify(3) describes; does nothing where
 * nobody has asked for it. Node.js has no datagram sockets of the unix family.
 * @param path what NOTIFY_SOCKET says
 * @returns whether systemd has been told
 */
export function sdNotify(
  state: string,
  path: string | undefined,
  calls: NotifyCalls | null = path ? loadNotifyCalls() : null,
): boolean {
  if (!path || !calls || Buffer.byteLength(path) > MAX_PATH_BYTES) return false;
  const fd = calls.socket(AF_UNIX, SOCK_DGRAM, 0);
  if (fd < 0) return false;
  const name = Buffer.from(path.startsWith(ABSTRACT) ? `\0${path.slice(1)}` : path);
  const address = Buffer.concat([Buffer.alloc(FAMILY_BYTES), name]);
  address.writeUInt16LE(AF_UNIX);
  const bytes = Buffer.from(state);
  const sent = calls.sendto(fd, bytes, bytes.length, 0, address, address.length);
  calls.close(fd);
  return sent === bytes.length;
}
