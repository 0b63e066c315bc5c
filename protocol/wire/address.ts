import { isIPv4, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';

/** What `localhost` stands for: each address for its own family only. */
export const LOCALHOST: readonly string[] = ['127.0.0.1', '::1'];

/** Every address of a machine: each for its own family only. */
export const EVERY_ADDRESS: readonly string[] = ['0.0.0.0', '::'];

/** The address of this machine by which something is reached that listens on an address, which may be every one. */
export function reachableAt(ip: string): string {
  return LOCALHOST[EVERY_ADDRESS.indexOf(ip)] ?? ip;
}

/** The bytes of a literal address in network order: 4 for IPv4, 16 for IPv6, of which a zone is no part. */
export function addressToBytes(ip: string): number[] {
  // Each connection names three addresses: those of the common form are not worth a whole parser.
  return isIPv4(ip) ? ip.split('.').map(Number) : ipaddr.parse(withoutZone(ip)).toByteArray();
}

/**
 * The literal address in the 4 or 16 bytes from `start` up to `end`. Go's net.IP may write an IPv4 address in
 * 16 bytes (::ffff:a.b.c.d): it is an IPv4 address all the same.
 */
export function addressFromBytes(bytes: Buffer, start: number, end: number): string {
  const parts = bytes.subarray(start, end);
  return parts.length === 4
    ? parts.join('.')
    : ipaddr.process(ipaddr.fromByteArray([...parts]).toString()).toString();
}

/** The one way to write an address, so that equal ones are equal text; undefined if it is none. */
export function canonicalIp(text: string): string | undefined {
  if (!isIPv4(text) && !isIPv6(text)) return undefined;
  const bare = withoutZone(text);
  const ip = ipaddr.process(bare).toString();
  return ip.includes(':') ? ip + text.slice(bare.length) : ip;
}

/** An address without the interface of its link. That has any name, `br-lan` or `eth0.100`: no parser need know it. */
export function withoutZone(ip: string): string {
  return ip.replace(/%.*$/, '');
}

/** Whether it is an IPv6 address of one link, without the interface of that link (its zone), such as fe80::1. */
export function lacksZone(ip: string): boolean {
  return /^fe[89ab][0-9a-f]:/.test(ip) && !ip.includes('%');
}
