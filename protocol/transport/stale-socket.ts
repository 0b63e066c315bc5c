import { execFile } from 'node:child_process';
import { realpathSync, type Stats } from 'node:fs';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

/** Where and how it is found out whether a process has a unix socket; the defaults are this machine. */
export interface SocketSearch {
  platform: NodeJS.Platform;
  uid: number | undefined;
  /** macOS: the lsof program. */
  lsof: string;
  /** How long (ms) a process that is only busy gets to take what waits for it. */
  pauseMs: number;
}

/** lsof may hang on dead network mounts (ms). */
const LSOF_TIMEOUT_MS = 5_000;
/** What lsof may write: some 100,000 sockets. */
const MAX_LSOF_BYTES = 4 * 1024 * 1024;

const thisMachine: SocketSearch = {
  platform: process.platform,
  uid: process.getuid?.(),
  lsof: '/usr/sbin/lsof',
  pauseMs: 300,
};

const run = promisify(execFile);

/**
 * Whether a socket that has refused a connection belongs to no process any more. On Linux the refusal says so.
 * On macOS a process that is too busy, or stopped, refuses in the same way: there the socket is asked again, and
 * then lsof. When in doubt the socket is somebody's.
 * @param refuses connects again. @returns whether it was refused once more
 */
export async function isAbandoned(
  path: string,
  { uid: owner }: Pick<Stats, 'uid'>,
  refuses: () => Promise<boolean>,
  search: Partial<SocketSearch> = {},
): Promise<boolean> {
  const { platform, uid, lsof, pauseMs } = { ...thisMachine, ...search };
  if (platform !== 'darwin') return true;
  await delay(pauseMs);
  if (!(await refuses())) return false;
  // lsof shows other users' processes to root alone.
  if (uid !== 0 && uid !== owner) return false;
  try {
    const { stdout } = await run(lsof, ['-U', '-Fn'], {
      timeout: LSOF_TIMEOUT_MS,
      maxBuffer: MAX_LSOF_BYTES,
    });
    return !namesOf(stdout).some((name) => isSamePath(name, path));
  } catch {
    return false;
  }
}

/** The names in `lsof -U -Fn` output: lines n<path>, behind which Linux has more. */
function namesOf(output: string): string[] {
  return output
    .split('\n')
    .filter((line) => line.startsWith('n'))
    .map((line) => line.slice(1).replace(/ type=.*$/, ''));
}

/** A socket has the name that it was bound by: one that does not begin at the root may lie in any folder. */
function isSamePath(name: string, path: string): boolean {
  if (basename(name) !== basename(path)) return false;
  return !isAbsolute(name) || resolved(name) === resolved(path);
}

function resolved(path: string): string {
  try {
    return join(realpathSync(dirname(path)), basename(path));
  } catch {
    return path;
  }
}
