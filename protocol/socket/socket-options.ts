import { type Libc, libc } from './libc.js';

/** The options that portferry sets itself, because Node has no call for them, or only a slower one. */
export type SocketOption =
  | 'sendBuffer'
  | 'receiveBuffer'
  | 'keepAlive'
  | 'keepAliveIdle'
  | 'keepAliveInterval'
  | 'linger'
  | 'noDelay';

/**
 * Level and name of each option. Linux: asm-generic/socket.h and netinet/tcp.h. macOS: sys/socket.h and
 * netinet/tcp.h, where TCP_KEEPALIVE is what Linux calls TCP_KEEPIDLE.
 */
export const OPTION_NUMBERS = {
  linux: {
    sendBuffer: [1, 7],
    receiveBuffer: [1, 8],
    keepAlive: [1, 9],
    keepAliveIdle: [6, 4],
    keepAliveInterval: [6, 5],
    linger: [1, 13],
    noDelay: [6, 1],
  },
  darwin: {
    sendBuffer: [0xffff, 0x1001],
    receiveBuffer: [0xffff, 0x1002],
    keepAlive: [0xffff, 0x8],
    keepAliveIdle: [6, 0x10],
    keepAliveInterval: [6, 0x101],
    linger: [0xffff, 0x80],
    noDelay: [6, 0x1],
  },
} as const satisfies Partial<Record<NodeJS.Platform, OptionNumbers>>;

type OptionNumbers = Readonly<Record<SocketOption, readonly [level: number, name: number]>>;

const NUMBERS: Partial<Record<NodeJS.Platform, OptionNumbers>> = OPTION_NUMBERS;

/** Whether options can be set at all: on an OS whose numbers are known, where the C library can be called. */
export function canSetOptions(platform = process.platform, calls: Libc | null = libc): boolean {
  return calls !== null && NUMBERS[platform] !== undefined;
}

/**
 * Sets an option of a socket.
 * @param fd its descriptor
 * @param value as the C library takes it: one number, or a structure of numbers
 * @returns whether the OS has taken it
 */
export function setSocketOption(
  fd: number,
  option: SocketOption,
  value: Int32Array,
  platform = process.platform,
  calls: Libc | null = libc,
): boolean {
  const numbers = NUMBERS[platform]?.[option];
  if (!numbers || !calls || !(fd >= 0)) return false;
  return calls.setsockopt(fd, numbers[0], numbers[1], value, value.byteLength) === 0;
}
