import { isIPv4 } from 'node:net';
import ipaddr from 'ipaddr.js';
import { addressToBytes, withoutZone } from '../../protocol/wire/address.js';
import type { Source, SourceAddress } from '../../protocol/wire/extension.js';

/** What every header of version 2 begins with: no text protocol does. */
const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

/** Version 2 in the upper half; in the lower one: the proxy's own connection, or one that it passes on. */
const LOCAL = 0x20;
const PROXY = 0x21;

/** Address family in the upper half; in the lower one STREAM, which is TCP. */
const UNSPECIFIED = 0x00;
const TCP4 = 0x11;
const TCP6 = 0x21;

/**
 * The header of the PROXY protocol, by which a server that expects it learns who the client is; it goes before
 * the connection's first byte. (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, 2.1 and 2.2)
 *
 * Where an address is not known, because the client has gone already, the header says that: the server goes on
 * with the address that it sees itself.
 */
export function encodeProxyHeader(version: 1 | 2, { client, listener }: Source): Buffer {
  const ends = client && listener && { client, listener };
  return version === 1 ? encodeText(ends) : encodeBinary(ends);
}

interface Ends {
  client: SourceAddress;
  listener: SourceAddress;
}

function encodeText(ends: Ends | undefined): Buffer {
  if (!ends) return Buffer.from('PROXY UNKNOWN\r\n');
  const { client, listener } = ends;
  const ips = areIPv4(ends)
    ? `TCP4 ${client.ip} ${listener.ip}`
    : `TCP6 ${toIPv6(client.ip)} ${toIPv6(listener.ip)}`;
  return Buffer.from(`PROXY ${ips} ${client.port} ${listener.port}\r\n`);
}

function encodeBinary(ends: Ends | undefined): Buffer {
  if (!ends) return Buffer.from([...SIGNATURE, LOCAL, UNSPECIFIED, 0, 0]);
  const { client, listener } = ends;
  const four = areIPv4(ends);
  const ips = [client.ip, listener.ip].flatMap((ip) => addressToBytes(four ? ip : toIPv6(ip)));
  const addresses = Buffer.from([...ips, ...uint16(client.port), ...uint16(listener.port)]);
  const head = [...SIGNATURE, PROXY, four ? TCP4 : TCP6, ...uint16(addresses.length)];
  return Buffer.from([...head, ...addresses]);
}

function uint16(value: number): [number, number] {
  return [value >> 8, value & 0xff];
}

function areIPv4({ client, listener }: Ends): boolean {
  return isIPv4(client.ip) && isIPv4(listener.ip);
}

/**
 * A header names both addresses in one family: IPv4 ones among IPv6 ones are mapped, in groups of hex digits. The
 * zone of a link-local address has no place in it, and means nothing on another machine.
 */
function toIPv6(ip: string): string {
  const address = ipaddr.parse(withoutZone(ip));
  return (address instanceof ipaddr.IPv4 ? address.toIPv4MappedAddress() : address).toString();
}
