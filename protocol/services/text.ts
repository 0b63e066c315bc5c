import { withoutControls } from '../wire/handshake.js';

/** A sentence with an address, a program's name and what to try has some 200 characters. */
const MAX_TEXT_LENGTH = 1000;

/** Text that others have chosen, as it may stand in logs, answers and on terminals: on one line, and not too long. */
export function textForPeople(text: string): string {
  const line = withoutControls(text.slice(0, MAX_TEXT_LENGTH + 1));
  return line.length > MAX_TEXT_LENGTH ? `${line.slice(0, MAX_TEXT_LENGTH - 1)}…` : line;
}
