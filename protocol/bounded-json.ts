import { messageOf, UsageError } from './errors.js';

/**
 * What one value (a number, an object, an item of an array …) may cost in memory (bytes) beside its text.
 * Measured with V8: 104 for a member with a name of its own, which is the most of all kinds tried.
 */
export const JSON_VALUE_BYTES = 128;

/** Objects and arrays inside one another: most of what is said here needs three, later versions may need one more. */
const MAX_DEPTH = 4;

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPENING_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSING_BRACKET = 0x5d;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;

/**
 * Counts the values in JSON without making them: objects can take 30 times the memory of their text. Text that
 * is no JSON is counted just the same; JSON.parse makes no more of it, before it fails, than is counted.
 * @param what says in errors what the text is: `the body`
 * @returns no fewer than there are
 * @throws UsageError when there are more than `most`, or they are nested deeper than `maxDepth`
 */
export function countJsonValues(
  what: string,
  text: Uint8Array,
  most: number,
  maxDepth: number = MAX_DEPTH,
): number {
  let values = 1;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const byte = text[at];
    if (byte === QUOTE) at = endOfString(text, at + 1);
    else if (byte === COMMA) values++;
    else if (byte === OPENING_BRACKET || byte === OPENING_BRACE) {
      values++;
      if (++depth > maxDepth)
        throw new UsageError(`${what} has objects or arrays nested deeper than ${maxDepth}`);
    } else if (byte === CLOSING_BRACKET || byte === CLOSING_BRACE) depth--;
    if (values > most) throw new UsageError(`${what} has more than ${most} values`);
  }
  return values;
}

/** The place of the quote that ends the string whose text begins at `at`, or the text's end. */
function endOfString(text: Uint8Array, at: number): number {
  while (at < text.length && text[at] !== QUOTE) at += text[at] === BACKSLASH ? 2 : 1;
  return at;
}

/**
 * Reads JSON that others have sent, in UTF-8.
 * @param most values, as countJsonValues counts them
 * @throws UsageError when it is no JSON, has more values, or is nested too deep
 */
export function parseJson(what: string, text: Buffer, most: number, maxDepth: number = MAX_DEPTH): unknown {
  countJsonValues(what, text, most, maxDepth);
  return parseCountedJson(what, text);
}

/**
 * Reads JSON that countJsonValues has found small enough.
 * @throws UsageError
 */
export function parseCountedJson(what: string, text: Buffer): unknown {
  try {
    return JSON.parse(text.toString('utf8'));
  } catch (thrown) {
    throw new UsageError(`${what} is not valid JSON: ${messageOf(thrown)}`);
  }
}
