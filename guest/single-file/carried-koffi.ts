import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { getAsset, isSea } from 'node:sea';
import { brotliDecompressSync } from 'node:zlib';
import type { Koffi } from '../../protocol/socket/koffi.js';
import { loadAddon } from './load-addon.js';
import { readComment } from './read-comment.js';

/** The C libraries that koffi has a build for, the likeliest first. */
const C_LIBRARIES = ['linux', 'musl'] as const;

/** Where a file may be loaded from, in this order: /run is often mounted `noexec`, and /tmp sometimes. */
const FOLDERS = [tmpdir(), '/dev/shm', '/var/tmp', '/run'];

/** Gives what a program of one file carries under a name, as text of base64; undefined if there is no such thing. */
export type ReadCarried = (name: string) => string | undefined;

/** What the single executable carries: its assets. */
export function readAsset(name: string): string | undefined {
  try {
    return getAsset(name, 'latin1');
  } catch {
    return undefined;
  }
}

/** How what this program carries is read. */
export function chooseReader(isExecutable: boolean): ReadCarried {
  return isExecutable ? readAsset : (name) => readComment(import.meta.filename, name);
}

/** The builds of koffi that a machine may need, by the names under which they are carried. */
export function buildNames(platform: string, arch: string, maps: string): string[] {
  if (platform !== 'linux') return [];
  const names = C_LIBRARIES.map((library) => `koffi-${library}-${arch}`);
  return /\/ld-musl-/.test(maps) ? names.reverse() : names;
}

/**
 * Loads the koffi that this program carries.
 * @throws where it carries none for the machine, or no folder lets it be loaded
 */
export function loadCarriedKoffi(
  read: ReadCarried,
  names: readonly string[],
  folders: readonly string[] = FOLDERS,
): Koffi {
  let failure: unknown = new Error('this program carries no koffi for this machine');
  for (const name of names) {
    const carried = read(name);
    if (carried === undefined) continue;
    try {
      return loadAddon(brotliDecompressSync(Buffer.from(carried, 'base64')), folders) as Koffi;
    } catch (thrown) {
      failure = thrown;
    }
  }
  throw failure;
}

/** Which libraries a process has mapped: the C library is one of them. Empty where the system does not say. */
export function readMaps(path = '/proc/self/maps'): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

let loaded: Koffi | undefined;

/**
 * In the place of loadKoffi() of protocol/socket/koffi.ts.
 * @throws where koffi cannot be loaded
 */
export function loadKoffi(): Koffi {
  loaded ??= loadCarriedKoffi(chooseReader(isSea()), buildNames(process.platform, process.arch, readMaps()));
  return loaded;
}
