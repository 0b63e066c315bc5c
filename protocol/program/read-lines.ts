import type { Readable } from 'node:stream';
import { withoutControls } from '../wire/handshake.js';

/** Characters of a line that are kept: what another program writes must not fill the memory. */
const MAX_LINE_CHARS = 1_000;

/** Delivers what a program writes, line by line: without control characters and empty lines, and no longer than that. */
export function readLines(input: Readable, onLine: (line: string) => void): void {
  let line = '';
  const deliver = (): void => {
    const text = withoutControls(line).trim();
    line = '';
    if (text !== '') onLine(text);
  };
  input.setEncoding('utf8');
  input.on('data', (text: string) => {
    const [rest = '', ...next] = text.split(/[\r\n]/);
    line = (line + rest).slice(0, MAX_LINE_CHARS);
    for (const piece of next) {
      deliver();
      line = piece.slice(0, MAX_LINE_CHARS);
    }
  });
  input.on('end', deliver);
}
