import type net from 'node:net';
import koffi from 'koffi';
import { setSocketOption } from '../../protocol/socket/socket-options.js';

/** Numbers of Linux: asm-generic/socket.h, netinet/tcp.h. */
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const TCP_CLOSE = 7;

const getsockopt = koffi
  .load(null)
  .func('int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint32_t *bytes)');

const LINGER_RESET = Int32Array.of(1, 0);
const LINGER_OFF = Int32Array.of(0, 0);

/** Has the kernel reset the connection when it is closed, or this process dies: by itself it ends it as if it were whole. */
export function resetAtClose(socket: net.Socket): void {
  setSocketOption(descriptorOf(socket), 'linger', LINGER_RESET);
}

/** Has the kernel deliver what has been sent, and end the connection in good order. */
export function deliverAtClose(socket: net.Socket): void {
  setSocketOption(descriptorOf(socket), 'linger', LINGER_OFF);
}

/**
 * Whether an end that Node reports is a reset in truth. Of bytes and a reset that arrive together libuv tells the bytes
 * and an end. And where a write has been told, the next read sees an end; the connection itself is gone then, which
 * one that has ended both ways is, too, but of that no write is left to be told.
 */
export function isReset(socket: net.Socket): boolean {
  if (ask(socket, SOL_SOCKET, SO_ERROR) !== 0) return true;
  return !socket.writableFinished && ask(socket, IPPROTO_TCP, TCP_INFO) === TCP_CLOSE;
}

/** @returns the first byte of the answer */
function ask(socket: net.Socket, level: number, name: number): number {
  const value = new Uint8Array(4);
  const asked = getsockopt(descriptorOf(socket), level, name, value, [value.length]);
  return asked === 0 ? (value[0] ?? 0) : 0;
}

/** Node shows it to nobody else. */
function descriptorOf(socket: net.Socket): number {
  const { _handle } = socket as unknown as { _handle: { fd: number } | null };
  return _handle?.fd ?? -1;
}
