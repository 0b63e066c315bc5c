import { errnoOf, messageOf, OperationError } from '../errors.js';
import type { ChannelAddress } from './channel-address.js';

/** What most often helps, by errno; the user reads it after what failed and where. */
const ADVICE: Record<string, string> = {
  ENOENT: 'there is no such socket; start the end that listens, or correct the path',
  ENOTDIR: 'part of the path is not a folder; correct the path',
  ECONNREFUSED: 'nothing listens there; start the end that listens first',
  ECONNRESET: 'the other end closed at once; see its log',
  EPIPE: 'the other end closed at once; see its log',
  EACCES: 'this user may not use it; run as the user that owns it, or choose another address',
  EPERM: 'this user may not use it; run as the user that owns it, or choose another address',
  EADDRINUSE: 'another process has it; stop that one, or choose another address',
  EADDRNOTAVAIL: 'this machine has no such address; choose one of its own',
  EMFILE: 'too many files are open; raise the limit (ulimit -n)',
  ETIMEDOUT: 'nothing answers there; check the address',
  EHOSTUNREACH: 'no route leads there; check the address',
  ENETUNREACH: 'no route leads there; check the address',
  EAGAIN: 'its queue is full; is the process that listens there stuck?',
};

/**
 * The error for something that the OS refused: what was tried and where, the errno, and what to try.
 * @param what without a full stop, such as `cannot connect to unix:/run/x.sock`
 * @param special what helps here, by errno, where it is something else than with sockets
 */
export function systemFailure(
  what: string,
  thrown: unknown,
  special: Record<string, string> = {},
): OperationError {
  const errno = errnoOf(thrown);
  if (errno === undefined) return new OperationError(`${what}: ${messageOf(thrown)}`, { cause: thrown });
  const advice = special[errno] ?? ADVICE[errno];
  return new OperationError(`${what}: ${errno}${advice ? ` (${advice})` : ''}`, { cause: thrown });
}

/** What to try when a channel has ended before its handshake was complete; with nothing to add, the empty string. */
export function handshakeAdvice({ kind }: ChannelAddress): string {
  if (kind !== 'exec') return '';
  return '; the command is to start "portferry-guest --connect stdio:" at the other end, without a terminal (-t), to ask for nothing, such as a password, and to print nothing else: try it by hand';
}
