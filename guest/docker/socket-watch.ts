import { readlinkSync, statSync, watch } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { messageOf } from '../../protocol/errors.js';

/** How often (ms) to look after a socket whose folder cannot be watched. */
const POLL_MS = 30_000;

/** Links that lead from one to the next; more are a ring. */
const MAX_LINKS = 8;

/** What is watched of a folder, which is there: what becomes of one name in it. */
interface Place {
  folder: string;
  name: string;
}

/** A watch on a folder, as node:fs has it. */
type WatchFolder = typeof watch;

/**
 * Notices when something happens to a socket's path: it appears, is replaced, or gets other permissions. It watches
 * the socket's folder or, where that is missing, the nearest one above it; and what links lead to. Nothing wakes the
 * process meanwhile, but for what else happens in these folders.
 */
export class SocketWatch {
  /** Resolves when something has happened, or may have, since the watch was made; and when it is closed. */
  readonly touched: Promise<unknown>;
  /** Why it cannot be watched, and is only looked after now and then; undefined when it is watched. */
  readonly problem: string | undefined;
  readonly #ends: (() => void)[] = [];
  readonly #happened = new AbortController();

  constructor(path: string, watchFolder: WatchFolder = watch, pollMs = POLL_MS) {
    this.touched = new Promise((done) => this.#happened.signal.addEventListener('abort', done));
    try {
      for (const place of placesOf(path)) this.#watch(place, watchFolder);
    } catch (thrown) {
      // There are only so many watches, some file systems have none, and a folder may be somebody else's.
      this.problem = messageOf(thrown);
      const timer = setTimeout(() => this.#touch(), pollMs).unref();
      this.#ends.push(() => clearTimeout(timer));
    }
  }

  close(): void {
    for (const end of this.#ends) end();
    this.#touch();
  }

  #touch(): void {
    this.#happened.abort();
  }

  #watch({ folder, name }: Place, watchFolder: WatchFolder): void {
    const watcher = watchFolder(folder, { persistent: false }, (_event, changed) => {
      // The folder's own name says that it has gone itself.
      if (changed === null || changed === name || changed === basename(folder)) this.#touch();
    });
    watcher.on('error', () => this.#touch());
    this.#ends.push(() => watcher.close());
  }
}

/** Where something must happen for the socket to be there: at its path, and at those that it links to. */
function placesOf(path: string): Place[] {
  const places: Place[] = [];
  for (let at: string | undefined = resolve(path); at !== undefined && places.length < MAX_LINKS; ) {
    places.push(nearestPlace(at));
    at = linkOf(at);
  }
  return places;
}

/** The nearest folder above a path that is there, and the name in it that leads on. */
function nearestPlace(path: string): Place {
  let name = path;
  while (!isFolder(dirname(name))) name = dirname(name);
  return { folder: dirname(name), name: basename(name) };
}

function isFolder(path: string): boolean {
  return path === '/' || statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function linkOf(path: string): string | undefined {
  try {
    return resolve(dirname(path), readlinkSync(path));
  } catch {
    // It is no link, or not there.
    return undefined;
  }
}
