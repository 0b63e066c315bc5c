import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { errnoOf } from '../errors.js';

/**
 * Opens what is this user's, or a device such as /dev/null: no link is followed, nothing is waited for, and what others
 * have put there is neither read nor filled.
 * @param flags those of open(2)
 * @param mode that of a file which is made
 * @throws what openSync does, and Error when it is another user's
 */
export function openOwnFile(path: string, flags: number, mode?: number): { fd: number; stats: Stats } {
  const fd = openSync(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK, mode);
  const stats = fstatSync(fd);
  if (stats.uid === process.getuid?.() || stats.isCharacterDevice()) return { fd, stats };
  closeSync(fd);
  throw new Error(`it belongs to user ${stats.uid}`);
}

/**
 * Reads a file of this user's.
 * @returns its text and its mode; undefined when there is none
 * @throws what openOwnFile does, and Error when it is no file
 */
export function readOwnFile(path: string): { text: string; mode: number } | undefined {
  let fd: number;
  let stats: Stats;
  try {
    ({ fd, stats } = openOwnFile(path, constants.O_RDONLY));
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return undefined;
    throw thrown;
  }
  try {
    if (!stats.isFile()) throw new Error('it is no file');
    return { text: readFileSync(fd, 'utf8'), mode: stats.mode };
  } finally {
    closeSync(fd);
  }
}
