import { open } from 'node:fs/promises';
import { errnoOf, messageOf, OperationError } from '../../protocol/errors.js';

/** What is read of the end of a log. */
const TAIL_BYTES = 64 * 1024;

/** pino's numbers, as people say them. */
const LEVELS: ReadonlyMap<number, string> = new Map([
  [10, 'trace'],
  [20, 'debug'],
  [30, 'info'],
  [40, 'warn'],
  [50, 'error'],
  [60, 'fatal'],
]);

/**
 * The last lines of a log, each as `TIME level message`.
 * @returns nothing when there is no log yet
 * @throws OperationError when it cannot be read
 */
export async function tailLog(path: string, lines: number): Promise<string[]> {
  const text = await readEnd(path);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .slice(-lines)
    .map(formatLine);
}

async function readEnd(path: string): Promise<string> {
  try {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      const length = Math.min(size, TAIL_BYTES);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
      const text = buffer.subarray(0, bytesRead).toString();
      // The first line is cut where the file is longer.
      return size > TAIL_BYTES ? text.slice(text.indexOf('\n') + 1) : text;
    } finally {
      await file.close();
    }
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return '';
    throw new OperationError(`cannot read the log ${path}: ${messageOf(thrown)}`);
  }
}

function formatLine(line: string): string {
  try {
    const { time, level, msg } = JSON.parse(line) as { time: number; level: number; msg: string };
    return `${new Date(time).toISOString()} ${(LEVELS.get(level) ?? String(level)).padEnd(5)} ${msg}`;
  } catch {
    return line;
  }
}
