import { getSystemErrorMap } from 'node:util';

/** The user asked for something that cannot be understood or is not allowed: exit code 2, HTTP 400. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** Something that should have worked did not: exit code 1. The message says what, where and what to try. */
export class OperationError extends Error {
  override name = 'OperationError';
}

/** Stable codes of violations by the peer; they go into the log, and with a Reset to the peer. */
export type ViolationCode =
  | 'NOT_A_MULTIPLEXER'
  | 'HANDSHAKE_TIMEOUT'
  | 'FRAME_LENGTH'
  | 'UNKNOWN_COMMAND'
  | 'BAD_DESTINATION'
  | 'DEDICATED_STREAM'
  | 'STREAM_ID_IN_USE'
  | 'WINDOW_SHRANK'
  | 'WINDOW_TOO_LARGE'
  | 'WINDOW_EXCEEDED'
  | 'BAD_DATAGRAM'
  | 'PAYLOAD_TOO_LARGE'
  | 'BAD_EXTENSION'
  | 'PEER_DOES_NOT_READ'
  | 'PEER_SILENT';

/** The peer broke the protocol in a way that ends the whole channel. */
export class ProtocolError extends Error {
  override name = 'ProtocolError';
  readonly code: ViolationCode;

  /** @param message with the numbers: what was received, where, and what is allowed */
  constructor(code: ViolationCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** The message of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The errno name of a system error, such as ECONNREFUSED; undefined for any other error. */
export function errnoOf(thrown: unknown): string | undefined {
  const code = (thrown as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}

/** `address already in use (EADDRINUSE)` for a system error, else its message. */
export function reasonOf(thrown: unknown): string {
  const number = (thrown as NodeJS.ErrnoException | undefined)?.errno;
  const known = number === undefined ? undefined : getSystemErrorMap().get(number);
  return known ? `${known[1]} (${known[0]})` : messageOf(thrown);
}
