import type net from 'node:net';
import { HandleSocket } from './handle-socket.js';
import { type Handles, handles, type StreamHandle } from './handles.js';
import { NodeSocket } from './node-socket.js';
import { type RawSocket, type SocketPeer, unattended } from './raw-socket.js';

/** The internal Node interface this file uses: a listening handle calls `onconnection` for each new connection. */
interface ListeningHandle {
  readonly fd?: number;
  onconnection?: (status: number, handle: StreamHandle) => void;
}

/**
 * Delivers each connection that `server` accepts as a RawSocket that reads nothing before its resume().
 *
 * The listening handle's own callback is replaced, so that node:net makes no socket of it. Where Node should
 * lack that internal interface, the public 'connection' event is used.
 *
 * @param server one that listens already, made with `pauseOnConnect` and `allowHalfOpen`
 * @param tcp false for a unix socket
 * @param internals null to use the public interface only
 */
export function acceptSockets(
  server: net.Server,
  tcp: boolean,
  onSocket: (socket: RawSocket) => void,
  internals: Handles | null = handles,
): void {
  const listening = handleOf(server);
  if (!internals || typeof listening?.onconnection !== 'function') {
    server.on('connection', (socket) => onSocket(NodeSocket.adopt(socket, tcp, unattended)));
    return;
  }
  const local = tcp ? specificAddress(server.address() as net.AddressInfo) : undefined;
  const acceptFailed = listening.onconnection.bind(listening);
  listening.onconnection = (status, accepted) => {
    if (status !== 0) acceptFailed(status, accepted);
    else {
      if (tcp) accepted.setNoDelay?.(true);
      onSocket(new HandleSocket(internals, accepted, tcp, unattended, local));
    }
  };
}

/** The descriptor of a server that listens; negative where Node does not tell. */
export function descriptorOf(server: net.Server): number {
  return handleOf(server)?.fd ?? -1;
}

function handleOf(server: net.Server): ListeningHandle | null | undefined {
  return (server as { _handle?: ListeningHandle | null })._handle;
}

/** What every connection's own end will be, unless the server listens on a whole family. */
function specificAddress({ address, port }: net.AddressInfo): SocketPeer | undefined {
  return address === '0.0.0.0' || address === '::' ? undefined : { ip: address, port };
}
