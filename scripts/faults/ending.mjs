/**
 * Whether an end that Node.js has reported was a reset. When a peer's last bytes and its RST arrive together, libuv on
 * Linux reports an end without asking for the error. A connection whose own direction is open is gone only if it was
 * reset: after a peer's FIN the system still has it.
 */
export function wasReset(socket) {
  return !socket.writableEnded && socket._handle?.getpeername?.({}) !== 0;
}
