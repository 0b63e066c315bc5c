import { UsageError } from '../errors.js';
import { DEFAULT_KEEP_ALIVE_SECONDS, MAX_KEEP_ALIVE_SECONDS } from '../socket/keep-alive.js';
import type { OptionDeclaration } from './declared-options.js';

/** The option of both programs that says when the system is to ask whether a TCP peer is still there. */
export const KEEP_ALIVE_OPTION = {
  type: 'number',
  describe: `Seconds of silence after which the system asks whether a TCP peer is still there, up to ${MAX_KEEP_ALIVE_SECONDS}; 0: never`,
  defaultDescription: String(DEFAULT_KEEP_ALIVE_SECONDS),
} as const satisfies OptionDeclaration;

/**
 * Checks what `--keep-alive` says.
 * @throws UsageError when it is not a whole number that the system takes
 */
export function checkKeepAlive(seconds: number): number {
  if (Number.isInteger(seconds) && seconds >= 0 && seconds <= MAX_KEEP_ALIVE_SECONDS) return seconds;
  throw new UsageError(
    `--keep-alive ${seconds}: it must be whole seconds, from 1 to ${MAX_KEEP_ALIVE_SECONDS}, or 0 for never`,
  );
}
