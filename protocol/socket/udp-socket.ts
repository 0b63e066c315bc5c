import dgram from 'node:dgram';
import { isIPv6 } from 'node:net';

/**
 * What a socket asks the kernel to hold. macOS sends no datagram that is larger than a socket's send buffer,
 * which is 9216 bytes there unless it is told; a system with less to give, as Linux by default, gives that.
 */
export const SEND_BUFFER_BYTES = 256 * 1024;
export const RECEIVE_BUFFER_BYTES = 1024 * 1024;

/** What may wait in this process for a kernel that takes no more; it rarely does. */
export const MAX_UNSENT_BYTES = 1024 * 1024;

/** A UDP socket, not bound yet, for the family of a literal address. One for IPv6 takes no IPv4. */
export function createUdpSocket(ip: string): dgram.Socket {
  const family = isIPv6(ip) ? 6 : 4;
  return dgram.createSocket({
    type: `udp${family}`,
    ipv6Only: family === 6,
    sendBufferSize: SEND_BUFFER_BYTES,
    recvBufferSize: RECEIVE_BUFFER_BYTES,
    // All addresses are literal: each datagram would wait for a look-up that has nothing to find.
    lookup: (address, _options, done) => done(null, address, family),
  });
}

/** Whether a socket should be given another datagram: false while too much waits for the kernel. */
export function takesDatagrams(socket: Pick<dgram.Socket, 'getSendQueueSize'>): boolean {
  return socket.getSendQueueSize() < MAX_UNSENT_BYTES;
}
