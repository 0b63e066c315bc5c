import { withoutControls } from '../wire/handshake.js';

/** A sentence with an address, a program's name and what to try has some 200 characters. */
const MAX_TEXT_LENGTH = 1000;

/**
 * Text that others have chosen, as it may stand in logs, answers and on terminals: on one line, and not too long.
 * @param maxLength in characters (UTF-16)
 */
export function textForPeople(text: string, maxLength = MAX_TEXT_LENGTH): string {
  const line = withoutControls(text.slice(0, maxLength + 1));
  return line.length > maxLength ? `${line.slice(0, maxLength - 1)}…` : line;
}
