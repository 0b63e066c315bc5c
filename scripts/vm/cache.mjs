// Where the tests with a VM keep what takes long to make, by what it was made from.
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** So long something is kept that no run has used. */
const KEPT_MS = 14 * 24 * 60 * 60 * 1000;

/** Whatever makes a difference to what is made. */
export function hashOf(...parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex').slice(0, 16);
}

/**
 * A folder of the cache; it is made first if it is not there. Several programs may ask for one at the same time.
 * @param name what is in it, such as `image`
 * @param hash see hashOf
 * @param make fills the folder that it is given
 * @returns the folder's path
 */
export function cached(name, hash, make) {
  const cache = process.env.PORTFERRY_VM_CACHE || join(userCache(), 'portferry-vm');
  const folder = join(cache, `${name}-${hash}`);
  if (!existsSync(folder)) {
    mkdirSync(cache, { recursive: true });
    const unfinished = mkdtempSync(join(cache, 'unfinished-'));
    try {
      make(unfinished);
      renameSync(unfinished, folder);
    } catch (error) {
      // Somebody else may have made it meanwhile.
      if (!existsSync(folder)) throw error;
    } finally {
      rmSync(unfinished, { recursive: true, force: true });
    }
  }
  const now = new Date();
  utimesSync(folder, now, now);
  removeUnused(cache);
  return folder;
}

function userCache() {
  if (process.env.XDG_CACHE_HOME) return process.env.XDG_CACHE_HOME;
  return process.platform === 'darwin' ? join(homedir(), 'Library/Caches') : join(homedir(), '.cache');
}

function removeUnused(cache) {
  for (const name of readdirSync(cache)) {
    const path = join(cache, name);
    const { mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? {};
    if (mtimeMs < Date.now() - KEPT_MS) rmSync(path, { recursive: true, force: true });
  }
}
