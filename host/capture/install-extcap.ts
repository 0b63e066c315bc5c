import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OperationError, reasonOf } from '../../protocol/errors.js';

/** In every starter that portferry has made: another file of that name is somebody else's. */
const MARK = 'portferry capture --install-extcap';

const STARTER_NAME = 'portferry';
const DISSECTOR_NAME = 'portferry.lua';
const EXECUTABLE = 0o755;

/** The dissector of frames: beside this module's source, where the package has it, too. */
const DISSECTOR = ['portferry.lua', '../../../host/capture/portferry.lua']
  .map((place) => fileURLToPath(new URL(place, import.meta.url)))
  .find((path) => existsSync(path)) as string;

export interface ExtcapPlaces {
  /** Where Wireshark looks for the user's extcap programs: 4.2 and later in the first, earlier ones in the second. */
  extcap: readonly string[];
  /** Where it looks for the user's Lua plugins. */
  plugins: string;
}

/** The folders of the user, which are the same on Linux and macOS. */
export function extcapPlaces(environment: NodeJS.ProcessEnv): ExtcapPlaces {
  const { HOME, XDG_CONFIG_HOME } = environment;
  const home = HOME || homedir();
  const config = XDG_CONFIG_HOME && isAbsolute(XDG_CONFIG_HOME) ? XDG_CONFIG_HOME : join(home, '.config');
  const library = join(home, '.local', 'lib', 'wireshark');
  return {
    extcap: [join(library, 'extcap'), join(config, 'wireshark', 'extcap')],
    plugins: join(library, 'plugins'),
  };
}

/**
 * The program that Wireshark starts.
 * @param command what starts portferry
 * @param controlPath of the host that is asked: Wireshark may have been started with another environment
 */
export function extcapStarter(command: readonly string[], controlPath: string): string {
  const words = [...command, 'capture', '--control', controlPath, '--extcap'].map(quote).join(' ');
  return `#!/bin/sh
# By this Wireshark captures what portferry forwards. Made by '${MARK}', which makes it anew;
# '--uninstall-extcap' removes it.
exec ${words} -- "$@"
`;
}

/**
 * Writes the starter and the dissector. What is there already, and the same, is left as it is.
 * @returns the files that are there then
 * @throws OperationError
 */
export function installExtcap(
  places: ExtcapPlaces,
  starter: string,
  dissector: string = DISSECTOR,
): string[] {
  const starters = places.extcap.map((folder) => join(folder, STARTER_NAME));
  for (const path of starters) refuseForeign(path);
  const plugin = join(places.plugins, DISSECTOR_NAME);
  attempt(plugin, () => {
    mkdirSync(places.plugins, { recursive: true });
    copyFileSync(dissector, plugin);
  });
  for (const [index, path] of starters.entries())
    attempt(path, () => {
      mkdirSync(places.extcap[index] as string, { recursive: true });
      // Anew: what runs is not to be written over, and its mode may be another one.
      rmSync(path, { force: true });
      writeFileSync(path, starter, { mode: EXECUTABLE, flag: 'wx' });
    });
  return [...starters, plugin];
}

/** @returns the files that have been removed. @throws OperationError */
export function uninstallExtcap(places: ExtcapPlaces): string[] {
  const starters = places.extcap.map((folder) => join(folder, STARTER_NAME));
  for (const path of starters) refuseForeign(path);
  const all = [...starters, join(places.plugins, DISSECTOR_NAME)].filter((path) => existsSync(path));
  for (const path of all) attempt(path, () => rmSync(path));
  return all;
}

function refuseForeign(path: string): void {
  if (!existsSync(path)) return;
  const text = attempt(path, () => readFileSync(path, 'utf8'));
  if (text.includes(MARK)) return;
  throw new OperationError(`${path} is there and is not portferry's: move it away`);
}

function attempt<T>(path: string, run: () => T): T {
  try {
    return run();
  } catch (thrown) {
    throw new OperationError(`${path}: ${reasonOf(thrown)}`);
  }
}

/** For a shell: what stands between single quotes is taken as it is. */
function quote(text: string): string {
  return /^[\w./:=@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
