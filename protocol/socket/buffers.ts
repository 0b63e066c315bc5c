import { libc } from './libc.js';
import { setSocketOption } from './socket-options.js';

/** What a channel's unix socket may hold in the kernel: one more read of a bulk transfer while one is taken out. */
export const CHANNEL_BUFFER_BYTES = 512 * 1024;

/** What the kernel may receive ahead of the host from a client on the same machine. */
export const LOCAL_RECEIVE_BUFFER_BYTES = 256 * 1024;

/**
 * Gives a channel's unix socket buffers in which both ends find something to do at the same time. Unlike TCP's
 * they do not grow by themselves: they stay at 208 KiB on Linux and at 8 KiB on macOS, less than one read of a
 * bulk transfer. Where the OS refuses, the socket works as it did.
 * @param fd the socket's descriptor
 * @returns whether the OS has taken the sizes
 */
export function enlargeChannelBuffers(fd: number, platform = process.platform, calls = libc): boolean {
  return (['sendBuffer', 'receiveBuffer'] as const).every((buffer) =>
    setSocketOption(fd, buffer, Int32Array.of(CHANNEL_BUFFER_BYTES), platform, calls),
  );
}

/**
 * Bounds what the kernel receives ahead from clients of a TCP server on loopback, where no distance is to be
 * bridged. By itself it takes up to 6 MiB (Linux) for each client, which have left the processor's caches by the
 * time they are read. Where the OS refuses, the server works as it did.
 * @param fd the listening socket's descriptor: accepted sockets inherit the size
 * @returns whether the OS has taken the size
 */
export function boundLocalReceiveBuffer(fd: number, platform = process.platform, calls = libc): boolean {
  return setSocketOption(fd, 'receiveBuffer', Int32Array.of(LOCAL_RECEIVE_BUFFER_BYTES), platform, calls);
}
