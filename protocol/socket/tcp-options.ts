import { type Libc, libc } from './libc.js';
import { setSocketOption } from './socket-options.js';

/** Where accepted sockets have all of these options from the listening one. macOS leaves TCP_KEEPALIVE out. */
const INHERITS: ReadonlySet<NodeJS.Platform> = new Set(['linux']);

const ON = Int32Array.of(1);

/** Seconds, for the duration of a call. */
const pace = new Int32Array(1);

/** `struct linger`: on, for zero seconds. */
export const RESET_AT_CLOSE = Int32Array.of(1, 0);
const DELIVER_AT_CLOSE = Int32Array.of(0, 0);

/**
 * Makes a TCP socket what the data path needs: nothing is held back to fill packets, a peer that has vanished
 * is found out, and **closing it sends RST**. The kernel closes what a process leaves behind, however that dies;
 * were it to send FIN then, data that was cut short would look complete. So deliverAtClose() must come before
 * every close in good order.
 *
 * @param fd the descriptor of a socket that is connected, or connects; or of one that listens, see inherits()
 * @param keepAliveSeconds silence after which the kernel asks, and the time between two questions; 0: never
 * @returns whether the OS has taken everything
 */
export function prepareTcp(
  fd: number,
  keepAliveSeconds: number,
  platform = process.platform,
  calls: Libc | null = libc,
): boolean {
  const prepared =
    setSocketOption(fd, 'linger', RESET_AT_CLOSE, platform, calls) &&
    setSocketOption(fd, 'noDelay', ON, platform, calls);
  if (!prepared || keepAliveSeconds === 0) return prepared;
  pace[0] = keepAliveSeconds;
  return (
    setSocketOption(fd, 'keepAliveIdle', pace, platform, calls) &&
    setSocketOption(fd, 'keepAliveInterval', pace, platform, calls) &&
    setSocketOption(fd, 'keepAlive', ON, platform, calls)
  );
}

/** What libuv's TCP handles can set by themselves. */
interface TcpHandle {
  readonly fd: number;
  setNoDelay?(on: boolean): number;
  setKeepAlive?(on: boolean, seconds: number): number;
}

/** Does prepareTcp() for a handle; what only libuv can set here is set by it, at its own pace of questions. */
export function prepareTcpHandle(handle: TcpHandle, keepAliveSeconds: number): void {
  if (prepareTcp(handle.fd, keepAliveSeconds)) return;
  handle.setNoDelay?.(true);
  if (keepAliveSeconds > 0) handle.setKeepAlive?.(true, keepAliveSeconds);
}

/** Whether what prepareTcp() has set on a listening socket is set on all that it accepts, at no cost for each. */
export function inheritsOptions(platform = process.platform): boolean {
  return INHERITS.has(platform);
}

/**
 * Takes back that closing sends RST: everything has been sent, and the kernel is to deliver what it still has.
 * @param fd the descriptor of a socket that is about to be closed
 */
export function deliverAtClose(fd: number, platform = process.platform, calls: Libc | null = libc): boolean {
  return setSocketOption(fd, 'linger', DELIVER_AT_CLOSE, platform, calls);
}
