import { canonicalIp } from '../wire/address.js';
import type { VpnkitPort } from './control.js';

/** In the guest, where no address is given. */
const DEFAULT_GUEST_IP = '127.0.0.1';

/** Every IPv4 address: how those call every address of the host who know of IPv4 only. */
const EVERY_IPV4 = '0.0.0.0';

/**
 * Whether `named`, by which somebody asks for a forward to be removed, means `other`. Host and guest both ask
 * this function, so that what is removed on one end is removed on the other.
 *
 * The host's end must be the same: `out_ip` in whatever spelling, where 0.0.0.0 and none mean each other. The
 * guest's end must be the same as far as it is given: its address only counts beside a port. All else, such as
 * the annotation and the container, makes no difference.
 */
export function isMeant(named: VpnkitPort, other: VpnkitPort): boolean {
  const sameHostEnd =
    named.proto === other.proto &&
    (named.out_port || 0) === (other.out_port || 0) &&
    (named.out_path || '') === (other.out_path || '') &&
    canonicalOr(EVERY_IPV4, named.out_ip) === canonicalOr(EVERY_IPV4, other.out_ip);
  const whole = Boolean(named.in_path || named.in_port);
  return sameHostEnd && (!whole || guestEnd(named) === guestEnd(other));
}

function guestEnd({ in_ip: ip, in_port: port, in_path: path }: VpnkitPort): string {
  return path || `${canonicalOr(DEFAULT_GUEST_IP, ip)} ${port}`;
}

/** Text that is no address means only what is spelt alike. */
function canonicalOr(absent: string, ip: string | undefined): string {
  return ip ? (canonicalIp(ip) ?? ip) : absent;
}

/** The host's end, for people. */
export function describePort({ proto, out_ip: ip = '', out_port: port, out_path: path }: VpnkitPort): string {
  return path ? `${proto} ${path}` : `${proto} ${ip.includes(':') ? `[${ip}]` : ip || '*'}:${port ?? 0}`;
}
