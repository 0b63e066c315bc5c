import net from 'node:net';
import { HandleSocket } from './handle-socket.js';
import type { Handles } from './handles.js';
import { NodeSocket, takeHandle } from './node-socket.js';
import { type RawSocket, unattended } from './raw-socket.js';
import { settings } from './settings.js';

/**
 * Takes over the connection of a net.Socket that is no TCP connection, before the event loop has had a turn to read
 * from it. Nothing is read before resume(). A socket for one direction stays one: see PairSocket.
 * @param internals null to do without handles
 * @throws Error on a Node whose sockets have no handle
 */
export function adoptSocket(socket: net.Socket, internals: Handles | null = settings.internals): RawSocket {
  if (!internals) return NodeSocket.adopt(socket, false, unattended);
  return new HandleSocket(internals, takeHandle(socket), false);
}

/** The descriptors from 0 on of this process that are open from its start; Node.js never closes them. */
export function openDescriptor(
  fd: number,
  direction: 'read' | 'write',
  internals?: Handles | null,
): RawSocket {
  const socket = new net.Socket({ fd, readable: direction === 'read', writable: direction === 'write' });
  return adoptSocket(socket, internals);
}
