import type net from 'node:net';
import { RawSocket, unattended } from './socket.js';

/** The internal Node interface this file uses: a listening handle calls `onconnection` for each new one. */
interface ListeningHandle {
  onconnection?: (status: number, handle: unknown) => void;
}

/**
 * Delivers each connection that `server` accepts as a RawSocket that reads nothing before its resume().
 *
 * node:net makes accepted sockets without the `onread` option. So the listening handle's own callback is
 * replaced, which also spares a second socket object per connection. Where Node should lack that internal
 * interface, the public 'connection' event is used and the sockets are adopted, at the price of a copy.
 *
 * @param server one that listens already, made with `pauseOnConnect` and `allowHalfOpen`
 * @param tcp false for a unix socket
 * @param internals false to use the public interface only
 */
export function acceptRawSockets(
  server: net.Server,
  tcp: boolean,
  onSocket: (socket: RawSocket) => void,
  internals = true,
): void {
  const handle = (server as { _handle?: ListeningHandle })._handle;
  if (!internals || typeof handle?.onconnection !== 'function') {
    server.on('connection', (socket) => onSocket(RawSocket.adopt(socket, tcp, unattended)));
    return;
  }
  const acceptFailed = handle.onconnection.bind(handle);
  handle.onconnection = (status, accepted) => {
    if (status !== 0) acceptFailed(status, accepted);
    else onSocket(RawSocket.fromHandle(accepted, tcp, unattended));
  };
}
