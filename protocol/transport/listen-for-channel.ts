import net from 'node:net';
import { acceptSockets } from '../socket/accept.js';
import { enlargeChannelBuffers } from '../socket/buffers.js';
import type { RawSocket } from '../socket/raw-socket.js';
import { systemFailure } from './advice.js';
import { type ChannelAddress, formatAddress, refuseToListen } from './channel-address.js';
import { listenOnUnixPath } from './unix-path.js';
import { listenForVsockChannel } from './vsock.js';
import { firecrackerListenPath, hyperkitListenPath } from './vsock-path.js';

/** The socket by which a VM's device reaches this process is its user's. */
const VSOCK_SOCKET_MODE = 0o600;

/** A channel address that is listened on. */
export interface ChannelListener {
  /** With the port that the OS chose where port 0 was asked for. */
  readonly address: ChannelAddress;
  /** Ends listening and removes the socket file; sockets that were accepted stay. */
  close(): Promise<void>;
}

/**
 * Listens on a channel address. A socket gets mode 0600, and its folder is made unless it is one of a VM.
 * @param onSocket gets each connection: paused, so set its handler and call resume()
 * @param onError is told when accepting fails later on; listening goes on
 * @throws UsageError when it is none to listen on, OperationError that says the address, the reason and what to try
 */
export async function listenForChannel(
  address: ChannelAddress,
  onSocket: (socket: RawSocket) => void,
  onError: (error: Error) => void,
): Promise<ChannelListener> {
  if (address.kind === 'vsock') return { address, close: listenForVsockChannel(address, onSocket, onError) };
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true });
  const listening = await listen(server, address);
  const tcp = address.kind === 'tcp';
  acceptSockets(server, tcp, (socket) => {
    if (!tcp) enlargeChannelBuffers(socket.fd);
    onSocket(socket);
  });
  server.on('error', (error) => onError(systemFailure(`accepting on ${formatAddress(listening)}`, error)));
  return {
    address: listening,
    close: async () => {
      // The OS ends listening at once; 'close' would wait for connections too.
      server.close();
    },
  };
}

async function listen(
  server: net.Server,
  address: Exclude<ChannelAddress, { kind: 'vsock' }>,
): Promise<ChannelAddress> {
  if (address.kind === 'tcp') {
    return {
      ...address,
      port: await listenOnTcp(server, address.host, address.port, formatAddress(address)),
    };
  }
  if (address.kind === 'unix') await listenOnUnixPath(server, address.path);
  else if (address.kind !== 'hyperkit' && address.kind !== 'firecracker') refuseToListen(address);
  else await listenOnUnixPath(server, vsockPathOf(address), VSOCK_SOCKET_MODE, 0);
  return address;
}

function vsockPathOf(address: Extract<ChannelAddress, { kind: 'hyperkit' | 'firecracker' }>): string {
  return address.kind === 'hyperkit' ? hyperkitListenPath(address) : firecrackerListenPath(address);
}

/** @returns the port, which the OS has chosen if 0 was given */
function listenOnTcp(server: net.Server, host: string, port: number, name: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => reject(systemFailure(`cannot listen on ${name}`, error));
    server.once('error', onError);
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', onError);
      resolve((server.address() as net.AddressInfo).port);
    });
  });
}
