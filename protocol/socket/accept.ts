import type net from 'node:net';
import { HandleSocket } from './handle-socket.js';
import type { Handles, StreamHandle } from './handles.js';
import { NodeSocket } from './node-socket.js';
import { type RawSocket, type SocketPeer, unattended } from './raw-socket.js';
import { settings } from './settings.js';
import { inheritsOptions, prepareTcp, prepareTcpHandle } from './tcp-options.js';

/** The internal Node interface this file uses: a listening handle calls `onconnection` for each new connection. */
interface ListeningHandle {
  readonly fd?: number;
  onconnection?: (status: number, handle: StreamHandle) => void;
}

/**
 * Delivers each connection that `server` accepts as a RawSocket that reads nothing before its resume().
 *
 * The listening handle's own callback is replaced, so that node:net makes no socket of it. Without internals
 * the public 'connection' event is used.
 *
 * @param server one that listens already, made with `pauseOnConnect` and `allowHalfOpen`
 * @param tcp false for a unix socket
 * @param internals null to do without handles
 */
export function acceptSockets(
  server: net.Server,
  tcp: boolean,
  onSocket: (socket: RawSocket) => void,
  internals: Handles | null = settings.internals,
): void {
  const listening = handleOf(server);
  if (!internals || typeof listening?.onconnection !== 'function') {
    server.on('connection', (socket) => onSocket(NodeSocket.adopt(socket, tcp, unattended)));
    return;
  }
  const local = tcp ? specificAddress(server.address() as net.AddressInfo) : undefined;
  const prepare = tcp ? preparation(server, settings.keepAliveSeconds) : () => {};
  const acceptFailed = listening.onconnection.bind(listening);
  listening.onconnection = (status, accepted) => {
    if (status !== 0) acceptFailed(status, accepted);
    else {
      prepare(accepted);
      onSocket(new HandleSocket(internals, accepted, tcp, unattended, local));
    }
  };
}

/**
 * Sets the options of accepted TCP sockets: once and for all on the listening one, where they are inherited.
 * @returns what is still to be done for each accepted socket
 */
function preparation(server: net.Server, keepAliveSeconds: number): (accepted: StreamHandle) => void {
  const inherited = inheritsOptions() && prepareTcp(descriptorOf(server), keepAliveSeconds);
  if (!inherited) return (accepted) => prepareTcpHandle(accepted, keepAliveSeconds);
  // Clients that have come since the server listens, but before now, have inherited nothing. The loop accepts
  // all of them in one turn: the first in which it accepts at all.
  let turn: 'none yet' | 'first' | 'later' = 'none yet';
  return (accepted) => {
    if (turn === 'later') return;
    if (turn === 'none yet') setImmediate(() => (turn = 'later'));
    turn = 'first';
    prepareTcpHandle(accepted, keepAliveSeconds);
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
