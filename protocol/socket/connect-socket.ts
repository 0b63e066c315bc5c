import { HandleSocket } from './handle-socket.js';
import type { Handles } from './handles.js';
import { NodeSocket } from './node-socket.js';
import type { RawSocket, SocketAddress, SocketHandler } from './raw-socket.js';
import { settings } from './settings.js';

/** As connectSocket. */
export type Connect = (address: SocketAddress, handler: SocketHandler, onConnect: () => void) => RawSocket;

/**
 * Starts to connect. The outcome is told by `onConnect` or by the handler's onClose. Bytes may be sent at
 * once: they go out when the connection stands. Reading begins by itself then, unless pause() is called.
 * @param internals null to do without handles
 */
export function connectSocket(
  address: SocketAddress,
  handler: SocketHandler,
  onConnect: () => void,
  internals: Handles | null = settings.internals,
): RawSocket {
  return internals
    ? HandleSocket.connect(internals, address, handler, onConnect)
    : NodeSocket.connect(address, handler, onConnect);
}
