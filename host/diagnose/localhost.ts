import { LOCALHOST } from '../../protocol/wire/address.js';
import { type Complaint, ipsOf } from './evidence.js';
import type { PathReport } from './path.js';

/**
 * Whether the name localhost leads to other addresses than those that the forward listens on. What it resolves to
 * may differ between programs of one machine: that of the user who asks counts.
 * @param localhost the addresses that it resolves to; none: it could not be resolved
 */
export function localhostElsewhere(
  { forwards: [forward] }: Pick<PathReport, 'forwards'>,
  localhost: readonly string[],
): Complaint | undefined {
  if (forward?.state !== 'listening' || localhost.length === 0) return undefined;
  const ips = ipsOf(forward);
  const listensOn = (ip: string): boolean =>
    ips.includes(ip) || ips.includes(ip.includes(':') ? '::' : '0.0.0.0');
  // One that listens on none of them is not meant to be reached by this name.
  const own = LOCALHOST.filter(listensOn);
  if (own.length === 0 || localhost.some(listensOn)) return undefined;
  return {
    hop: 'host',
    problem: `localhost is ${localhost.join(' and ')} on this host, and ${forward.id} is there on ${own[0]} only`,
    advice: `reach it by ${own[0]}, expose it without an address, which is both 127.0.0.1 and ::1, or mend /etc/hosts`,
  };
}
