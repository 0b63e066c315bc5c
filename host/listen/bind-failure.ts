import { getSystemErrorMap } from 'node:util';
import { errnoOf, messageOf, OperationError } from '../../protocol/errors.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import { findPortOwner } from './port-owner.js';

/** The first port that needs no privileges, on most systems. */
const FIRST_FREE_PORT = 1024;

/** Whether it failed because the machine has no such address, or no IPv6 at all. */
export function isNoSuchAddress(thrown: unknown): boolean {
  return ['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes(errnoOf(thrown) ?? '');
}

/**
 * The error for a person: the address, the reason, who is in the way, and what to try.
 * @param holder what has the address, when that is known already
 * @param proto whose port it is
 */
export async function describeBindFailure(
  ip: string,
  port: number,
  thrown: unknown,
  holder?: string,
  proto: 'tcp' | 'udp' = 'tcp',
): Promise<OperationError> {
  const where = `cannot listen on ${proto === 'udp' ? 'udp ' : ''}${formatHostPort(ip, port)}`;
  const reason = inWords(thrown);
  switch (errnoOf(thrown)) {
    case 'EADDRINUSE': {
      const owner = holder ?? (await findPortOwner(ip, port, proto));
      const by = owner ? ` by ${owner}` : '';
      return new OperationError(`${where}: ${reason}${by}; free it, or choose another host port`);
    }
    case 'EACCES':
      return new OperationError(
        `${where}: ${reason}; ${port < FIRST_FREE_PORT ? `ports below ${FIRST_FREE_PORT} are privileged: choose a higher one` : 'the system reserves this port: choose another one'}`,
      );
    case 'EADDRNOTAVAIL':
      return new OperationError(`${where}: ${reason}; this machine has no address ${ip}`);
    case 'EAFNOSUPPORT':
      return new OperationError(`${where}: ${reason}; this machine has no IPv6: choose an IPv4 address`);
    default:
      return new OperationError(`${where}: ${reason}`);
  }
}

/** `address already in use (EADDRINUSE)` for a system error, else its message. */
function inWords(thrown: unknown): string {
  const number = (thrown as NodeJS.ErrnoException).errno;
  const known = number === undefined ? undefined : getSystemErrorMap().get(number);
  return known ? `${known[1]} (${known[0]})` : messageOf(thrown);
}
