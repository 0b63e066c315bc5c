import { lstatSync, mkdirSync, type Stats, unlinkSync } from 'node:fs';
import net from 'node:net';
import { dirname, relative } from 'node:path';
import { errnoOf, OperationError } from '../errors.js';
import { systemFailure } from './advice.js';
import { isAbandoned, type SocketSearch } from './stale-socket.js';

/** Bytes of a socket's path that the OS takes (sun_path), without the NUL at its end. */
export const MAX_PATH_BYTES_DARWIN = 103;
const MAX_PATH_BYTES_LINUX = 107;

/** A folder that is made for a socket is its owner's. */
const FOLDER_MODE = 0o700;
/** Folders that are made for a socket: its own and the one above. What is missing beyond them is rather a mistake. */
const FOLDERS_MADE = 2;

/** What connecting to a socket gives when no process has it. */
const UNANSWERED = new Set<string | undefined>(['ECONNREFUSED', 'ENOENT']);

/**
 * A path by which the OS can reach the socket at `path`: the same one or, when that is too long, one relative
 * to the current folder.
 * @throws OperationError with the length and the limit when neither is short enough
 */
export function connectablePath(path: string, platform: NodeJS.Platform = process.platform): string {
  const limit = platform === 'darwin' ? MAX_PATH_BYTES_DARWIN : MAX_PATH_BYTES_LINUX;
  const length = Buffer.byteLength(path);
  if (length <= limit) return path;
  const shorter = relative(process.cwd(), path);
  if (Buffer.byteLength(shorter) <= limit) return shorter;
  throw new OperationError(
    `the socket path ${path} is ${length} bytes long, and this system takes ${limit}; ` +
      'choose a shorter one',
  );
}

/**
 * Lets `server` listen on a unix socket at `path`. A socket there that nobody answers on is replaced; one that
 * answers, and every other kind of file, is left alone. A folder that is missing is made, with mode 0700, and
 * the one above it, too. Closing the server removes the socket.
 * @param mode the socket file's permissions, which it has from its first moment on
 * @param foldersMade how many folders may be made
 * @param search for tests
 * @throws OperationError that names the path, what is in the way, and what to try
 */
export async function listenOnUnixPath(
  server: net.Server,
  path: string,
  mode = 0o600,
  foldersMade = FOLDERS_MADE,
  search: Partial<SocketSearch> = {},
): Promise<void> {
  const bindable = connectablePath(path);
  if (await makeWay(path, search)) makeFolder(path, dirname(path), foldersMade);
  const outcome = listeningOrError(server);
  // The umask is the whole process's: it holds only while bind is called, which listen() does before it
  // returns. A chmod afterwards would leave the socket open to others for a moment.
  const umask = process.umask(0o777 & ~mode);
  try {
    server.listen({ path: bindable });
  } finally {
    process.umask(umask);
  }
  const failure = await outcome;
  if (failure) throw systemFailure(`cannot listen on ${path}`, failure);
}

function listeningOrError(server: net.Server): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const onListening = (): void => settle(undefined);
    const onError = (error: Error): void => settle(error);
    const settle = (failure: Error | undefined): void => {
      server.off('listening', onListening).off('error', onError);
      resolve(failure);
    };
    server.on('listening', onListening).on('error', onError);
  });
}

/** @returns whether there was nothing, perhaps not even a folder */
async function makeWay(path: string, search: Partial<SocketSearch>): Promise<boolean> {
  for (;;) {
    const found = statOf(path);
    if (!found) return true;
    if (!found.isSocket()) {
      throw new OperationError(
        `cannot listen on ${path}: there is ${kindOf(found)}, which is left alone; ` +
          'remove it, or choose another path',
      );
    }
    const refuses = async (): Promise<boolean> => !(await isAnswered(path));
    if (!(await refuses()) || !(await isAbandoned(path, found, refuses, search))) {
      throw new OperationError(
        `cannot listen on ${path}: it is in use by another process; stop that one, or choose another path`,
      );
    }
    // Another process may have replaced the stale socket meanwhile: its live one must not be removed.
    const now = statOf(path);
    if (now && isSame(now, found)) {
      onFile(path, unlinkSync);
      return false;
    }
  }
}

function statOf(path: string): Stats | undefined {
  return onFile(path, (file) => lstatSync(file));
}

/** @returns undefined when there is no such file */
function onFile<T>(path: string, operation: (path: string) => T): T | undefined {
  try {
    return operation(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw systemFailure(`cannot listen on ${path}`, error);
  }
}

/** Makes the folder unless it is there, and above it what is missing, as far as that is allowed. */
function makeFolder(path: string, folder: string, levels: number): void {
  if (onFile(path, () => lstatSync(folder))) return;
  if (levels === 0)
    throw new OperationError(
      `cannot listen on ${path}: the folder ${folder} does not exist; create it first`,
    );
  makeFolder(path, dirname(folder), levels - 1);
  try {
    mkdirSync(folder, { mode: FOLDER_MODE });
  } catch (thrown) {
    if (errnoOf(thrown) !== 'EEXIST')
      throw systemFailure(`cannot listen on ${path}: cannot make the folder ${folder}`, thrown);
  }
}

function isSame(a: Stats, b: Stats): boolean {
  return a.ino === b.ino && a.dev === b.dev && a.ctimeMs === b.ctimeMs;
}

/** Whether a process has the socket: only a refusal, or its absence, says that none does. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.connect({ path: connectablePath(path) });
    probe.on('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', (error: NodeJS.ErrnoException) => resolve(!UNANSWERED.has(error.code)));
  });
}

function kindOf(stats: Stats): string {
  if (stats.isFile()) return 'a file';
  if (stats.isDirectory()) return 'a folder';
  if (stats.isSymbolicLink()) return 'a symbolic link';
  return stats.isFIFO() ? 'a named pipe' : 'a device';
}
