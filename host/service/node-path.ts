import { existsSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';

/** The path of a Node.js that a service is started with. */
export interface NodePath {
  path: string;
  /** Why the path may be gone one day, and what is to be done then; undefined when it stays. */
  caveat: string | undefined;
}

/** Homebrew keeps each version in a folder of its own, and a link beside them to the one in use. */
const HOMEBREW = /^(.*)\/Cellar\/([^/]+)\/[^/]+\/bin\/node$/;

/** Managers that keep each version of Node.js in a folder which goes when that version is removed. */
const VERSION_MANAGERS: readonly (readonly [name: string, folder: RegExp])[] = [
  ['nvm', /\/\.?nvm\//],
  ['fnm', /\/fnm(_multishells)?\//],
  ['volta', /\/\.volta\//],
  ['asdf', /\/\.asdf\//],
  ['mise', /\/mise\//],
  ['n', /\/n\/versions\//],
  ['nodenv', /\/\.nodenv\//],
];

/**
 * The path by which a service starts Node.js, so that it is still there after an upgrade where that can be had.
 * @param execPath of the Node.js that runs
 */
export function lastingNodePath(
  execPath: string = process.execPath,
  isSame: (a: string, b: string) => boolean = isSameFile,
): NodePath {
  const [, prefix, formula] = HOMEBREW.exec(execPath) ?? [];
  if (prefix !== undefined && formula !== undefined) {
    const link = join(prefix, 'opt', formula, 'bin', basename(execPath));
    if (isSame(link, execPath)) return { path: link, caveat: undefined };
  }
  const manager = VERSION_MANAGERS.find(([, folder]) => folder.test(execPath));
  if (!manager) return { path: execPath, caveat: undefined };
  return {
    path: execPath,
    caveat: `it starts the Node.js of ${manager[0]} at ${execPath}; when that version is removed, install the service again`,
  };
}

function isSameFile(a: string, b: string): boolean {
  return existsSync(a) && realpathSync(a) === realpathSync(b);
}
