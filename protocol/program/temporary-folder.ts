import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PREFIX = 'portferry-';

/** In each folder: whose it is, so that one whose owner has died can be told from one in use. */
const OWNER_FILE = 'owner';

export interface TemporaryFolder {
  readonly path: string;
  remove(): void;
}

/**
 * Makes a folder for this process alone, mode 0700. It goes with remove(), or with the process, however that
 * ends: after a `kill -9` it goes when the next one is made.
 */
export function makeTemporaryFolder(parent = tmpdir()): TemporaryFolder {
  sweep(parent);
  // Short: a socket's path may have little more than a hundred bytes.
  const path = mkdtempSync(join(parent, PREFIX));
  const removeNow = (): void => rmSync(path, { recursive: true, force: true });
  process.once('exit', removeNow);
  writeFileSync(join(path, OWNER_FILE), describeOwner(process.pid));
  return {
    path,
    remove: () => {
      process.off('exit', removeNow);
      removeNow();
    },
  };
}

/** Removes this user's folders of processes that are no more. */
function sweep(parent: string): void {
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(PREFIX)) continue;
    const path = join(parent, name);
    try {
      if (lstatSync(path).uid === process.getuid?.() && isOrphan(path))
        rmSync(path, { recursive: true, force: true });
    } catch {
      // It is another's, or goes just now.
    }
  }
}

/** Whether the process that a folder was made for has ended. What another user has is not known, and not ours. */
export function isAbandoned(path: string): boolean {
  try {
    return isOrphan(path);
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

/** @throws when the folder does not say whose it is */
function isOrphan(path: string): boolean {
  const owner = readFileSync(join(path, OWNER_FILE), 'utf8');
  const pid = Number.parseInt(owner, 10);
  // In another container the same number is another process.
  return owner === describeOwner(pid) && !isAlive(pid);
}

/** A process id, and which processes it is counted among. */
function describeOwner(pid: number): string {
  return `${pid} ${pidNamespace()}\n`;
}

/** What tells a container's processes from those of others on Linux; empty where there is no such thing. */
export function pidNamespace(link = '/proc/self/ns/pid'): string {
  try {
    return readlinkSync(link);
  } catch {
    return '';
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    // EPERM: another user's process has got the number.
    return (thrown as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
