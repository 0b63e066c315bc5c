import { ProtocolError } from '../errors.js';
import { addressFromBytes, addressToBytes } from './address.js';

/** Wire: ports are u16. */
export const MAX_PORT = 0xffff;

/** The longest path in an Open that we take; every socket path an OS accepts is far below it. */
export const MAX_PATH_BYTES = 4096;

/** What the guest dials. `ip` is a literal address; a `path` that does not begin with "/" names a service. */
export type Destination =
  | { proto: 'tcp' | 'udp'; ip: string; port: number }
  | { proto: 'unix'; path: string };

/** Whether a destination is a service of the other end, and no connection that is forwarded. */
export function isService(destination: Destination): boolean {
  return destination.proto === 'unix' && !destination.path.startsWith('/');
}

const TCP = 1;
const UDP = 2;
const UNIX = 3;

/** Encodes a destination: u8 proto, u16 length, address or path, and for TCP and UDP a u16 port. */
export function encodeDestination(destination: Destination): Buffer {
  if (destination.proto === 'unix') {
    const path = Buffer.from(destination.path, 'utf8');
    if (path.length > MAX_PATH_BYTES)
      throw new RangeError(`path of ${path.length} bytes, at most ${MAX_PATH_BYTES} can be sent`);
    const bytes = Buffer.allocUnsafe(3 + path.length);
    bytes.writeUInt8(UNIX, 0);
    bytes.writeUInt16LE(path.length, 1);
    path.copy(bytes, 3);
    return bytes;
  }
  const address = addressToBytes(destination.ip);
  const bytes = Buffer.allocUnsafe(3 + address.length + 2);
  bytes.writeUInt8(destination.proto === 'tcp' ? TCP : UDP, 0);
  bytes.writeUInt16LE(address.length, 1);
  bytes.set(address, 3);
  bytes.writeUInt16LE(destination.port, 3 + address.length);
  return bytes;
}

/**
 * Decodes a destination that fills `bytes` to the last one.
 * @throws ProtocolError BAD_DESTINATION
 */
export function decodeDestination(bytes: Buffer): Destination {
  if (bytes.length < 3) throw bad(`a destination of ${bytes.length} bytes, at least 3 are needed`);
  const proto = bytes.readUInt8(0);
  const length = bytes.readUInt16LE(1);
  const expected = 3 + length + (proto === UNIX ? 0 : 2);
  if (bytes.length !== expected)
    throw bad(`a destination of ${bytes.length} bytes, its fields say ${expected}`);
  if (proto === UNIX) return { proto: 'unix', path: bytes.toString('utf8', 3) };
  if (proto !== TCP && proto !== UDP) throw bad(`unknown destination protocol ${proto}`);
  return {
    proto: proto === TCP ? 'tcp' : 'udp',
    ip: decodeAddress(bytes.subarray(3, 3 + length)),
    port: bytes.readUInt16LE(3 + length),
  };
}

/** `tcp 127.0.0.1:80`, `udp [::1]:53` or `unix /run/x.sock`, as logs and listings show it. */
export function formatDestination(destination: Destination): string {
  if (destination.proto === 'unix') return `unix ${destination.path}`;
  return `${destination.proto} ${formatHostPort(destination.ip, destination.port)}`;
}

/** `127.0.0.1:80` or `[::1]:80`. */
export function formatHostPort(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function decodeAddress(bytes: Buffer): string {
  // Docker's forwarder sends no bytes at all for an address that was not given, and dials the local machine.
  if (bytes.length === 0) return '127.0.0.1';
  if (bytes.length !== 4 && bytes.length !== 16)
    throw bad(`an address of ${bytes.length} bytes, not 4 or 16`);
  return addressFromBytes(bytes, 0, bytes.length);
}

function bad(message: string): ProtocolError {
  return new ProtocolError('BAD_DESTINATION', message);
}
