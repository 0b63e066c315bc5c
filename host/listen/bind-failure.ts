import { errnoOf, OperationError, reasonOf } from '../../protocol/errors.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import type { WantedAddress } from './port-owner.js';

/** The first port that needs no privileges, on most systems. */
const FIRST_FREE_PORT = 1024;

/** Whether it failed because the machine has no such address, or no IPv6 at all. */
export function isNoSuchAddress(thrown: unknown): boolean {
  return ['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes(errnoOf(thrown) ?? '');
}

/**
 * The error for a person: the address, the reason, who is in the way, and what to try.
 * @param owner what has the address, where that is known
 */
export function describeBindFailure(
  { proto, ip, port }: WantedAddress,
  thrown: unknown,
  owner?: string,
): OperationError {
  const where = `cannot listen on ${proto === 'udp' ? 'udp ' : ''}${formatHostPort(ip, port)}`;
  return new OperationError(`${where}: ${reasonOf(thrown)}${adviceFor(errnoOf(thrown), ip, port, owner)}`);
}

function adviceFor(errno: string | undefined, ip: string, port: number, owner: string | undefined): string {
  switch (errno) {
    case 'EADDRINUSE':
      return `${owner ? ` by ${owner}` : ''}; free it, or choose another host port`;
    case 'EACCES':
      return port < FIRST_FREE_PORT
        ? `; ports below ${FIRST_FREE_PORT} are privileged: choose a higher one`
        : '; the system reserves this port: choose another one';
    case 'EADDRNOTAVAIL':
      return `; this machine has no address ${ip}`;
    case 'EAFNOSUPPORT':
      return '; this machine has no IPv6: choose an IPv4 address';
    case 'EMFILE':
      return '; raise the limit of open files (ulimit -n) and start portferry again';
    default:
      return '';
  }
}
