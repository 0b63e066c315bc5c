import { EVERY_ADDRESS, LOCALHOST } from '../../protocol/wire/address.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import type { Complaint } from './evidence.js';
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
  const { id, addresses, out_port: port = 0 } = forward;
  const listensOn = (ip: string): boolean =>
    [ip, EVERY_ADDRESS[ip.includes(':') ? 1 : 0] as string].some((one) =>
      addresses.includes(formatHostPort(one, port)),
    );
  // One that listens on none of them is not meant to be reached by this name.
  const own = LOCALHOST.filter(listensOn);
  if (own.length === 0 || localhost.some(listensOn)) return undefined;
  return {
    hop: 'host',
    problem: `localhost is ${localhost.join(' and ')} on this host, and ${id} is there on ${own[0]} only`,
    advice: `reach it by ${own[0]}, expose it without an address, which is both 127.0.0.1 and ::1, or mend /etc/hosts`,
  };
}
