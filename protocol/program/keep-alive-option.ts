import { DEFAULT_KEEP_ALIVE_SECONDS, MAX_KEEP_ALIVE_SECONDS } from '../socket/keep-alive.js';
import type { OptionDeclaration } from './declared-options.js';

/** The option of both programs that says when the system is to ask whether a TCP peer is still there. */
export const KEEP_ALIVE_OPTION = {
  type: 'number',
  describe: 'Seconds of silence after which the system asks whether a TCP peer is still there; 0: never',
  max: MAX_KEEP_ALIVE_SECONDS,
  whole: true,
  defaultDescription: String(DEFAULT_KEEP_ALIVE_SECONDS),
} as const satisfies OptionDeclaration;
