import { CHANNEL_BUFFER_BYTES } from '../limits.js';
import { type Libc, libc } from './libc.js';

/** The socket level and its options' numbers: Linux's asm-generic/socket.h, macOS's sys/socket.h. */
const OPTIONS: Partial<
  Record<NodeJS.Platform, { level: number; sendBuffer: number; receiveBuffer: number }>
> = {
  linux: { level: 1, sendBuffer: 7, receiveBuffer: 8 },
  darwin: { level: 0xffff, sendBuffer: 0x1001, receiveBuffer: 0x1002 },
};

/**
 * Gives a unix socket buffers in which both ends find something to do at the same time. Unlike TCP's they do
 * not grow by themselves: they stay at 208 KiB on Linux and at 8 KiB on macOS, less than one read of a bulk
 * transfer. Where the OS refuses, the socket works as it did.
 * @param fd the socket's descriptor
 * @returns whether the OS has taken the sizes
 */
export function enlargeBuffers(
  fd: number,
  platform: NodeJS.Platform = process.platform,
  calls: Libc | null = libc,
): boolean {
  const options = OPTIONS[platform];
  if (!options || !calls || fd < 0) return false;
  const { level, sendBuffer, receiveBuffer } = options;
  return [sendBuffer, receiveBuffer].every(
    (option) => calls.setsockopt(fd, level, option, [CHANNEL_BUFFER_BYTES], 4) === 0,
  );
}
