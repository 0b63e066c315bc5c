import ipaddr from 'ipaddr.js';
import type { VpnkitPort } from './control.js';

/** Whether `named` means `other`: the guest's end must match as far as it is given, as on the host. */
export function isMeant(named: VpnkitPort, other: VpnkitPort): boolean {
  const sameHostEnd =
    named.proto === other.proto &&
    (named.out_port ?? 0) === (other.out_port ?? 0) &&
    (named.out_path ?? '') === (other.out_path ?? '') &&
    canonical(named.out_ip) === canonical(other.out_ip);
  const whole = Boolean(named.in_path || named.in_port);
  return sameHostEnd && (!whole || guestEnd(named) === guestEnd(other));
}

function guestEnd({ in_ip: ip, in_port: port, in_path: path }: VpnkitPort): string {
  return path || `${canonical(ip) || '127.0.0.1'} ${port}`;
}

function canonical(ip = ''): string {
  return ipaddr.isValid(ip) ? ipaddr.process(ip).toString() : ip;
}

/** The host's end, for people. */
export function describePort({ proto, out_ip: ip = '', out_port: port, out_path: path }: VpnkitPort): string {
  return path ? `${proto} ${path}` : `${proto} ${ip.includes(':') ? `[${ip}]` : ip || '*'}:${port ?? 0}`;
}
