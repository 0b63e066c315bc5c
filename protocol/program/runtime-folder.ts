import { existsSync, mkdirSync, type Stats, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { messageOf, OperationError } from '../errors.js';
import type { ChannelAddress } from '../transport/channel-address.js';

/** Permission bits: others may write, and only a file's owner may remove it. */
const WORLD_WRITABLE = 0o002;
const STICKY = 0o1000;
/** All that others than the owner may do. */
const OTHERS = 0o077;

/**
 * The folder of portferry's sockets: $PORTFERRY_RUNTIME_DIR, else portferry in $XDG_RUNTIME_DIR, else by
 * platform. All are short, since a socket's path may have little more than a hundred bytes.
 */
export function runtimeFolder(
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
  uid: number | undefined = process.getuid?.(),
): string {
  const { PORTFERRY_RUNTIME_DIR: chosen, XDG_RUNTIME_DIR: xdg, HOME } = env;
  if (chosen) return resolve(chosen);
  // The XDG specification: a path that is not absolute is to be ignored.
  if (xdg && isAbsolute(xdg)) return join(xdg, 'portferry');
  const home = HOME || homedir();
  // Not in a folder of caches, which macOS empties when a disk is full. It has no /run.
  if (uid !== 0) return join(home, '.portferry', 'run');
  return platform === 'darwin' ? '/var/run/portferry' : '/run/portferry';
}

/** Where host and guest meet when no address is given. */
export function defaultChannelAddress(
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): ChannelAddress {
  return { kind: 'unix', path: join(runtimeFolder(env, platform), 'channel.sock') };
}

/** The control socket's path when none is given. */
export function defaultControlPath(
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  return join(runtimeFolder(env, platform), 'control.sock');
}

/** Where publishers in the guest may have unix sockets. */
export function defaultSocketsFolder(
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  return join(runtimeFolder(env, platform), 'sockets');
}

/**
 * The file that keeps the dashboard's token. It is beside the control socket, which shows even more to whoever can use
 * it, and goes with its folder; where that folder is not this user's alone, it is in the runtime folder.
 */
export function dashboardTokenPath(
  controlPath: string,
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  const beside = resolve(dirname(controlPath));
  const folder = isOthersToo(beside) ? runtimeFolder(env, platform) : beside;
  return join(folder, 'dashboard-token');
}

/** One that is missing is made for its user alone. */
function isOthersToo(folder: string): boolean {
  const stats = statSync(folder, { throwIfNoEntry: false });
  return stats !== undefined && (stats.uid !== process.getuid?.() || (stats.mode & OTHERS) !== 0);
}

/**
 * Makes the folder for sockets, with mode 0700, unless it exists.
 * @throws OperationError when it cannot be made, is no folder, or others could replace what is in it
 */
export function ensureFolder(path: string): void {
  const stats = makeFolder(path);
  if (!stats.isDirectory()) refuse(path, 'it is not a folder');
  const uid = process.getuid?.();
  if (stats.uid !== uid) refuse(path, `it belongs to user ${stats.uid}, and this is user ${uid}`);
  if ((stats.mode & WORLD_WRITABLE) !== 0 && (stats.mode & STICKY) === 0) {
    refuse(path, 'every user may replace its files; chmod 0700 it');
  }
}

function makeFolder(path: string): Stats {
  try {
    if (!existsSync(path)) mkdirSync(path, { recursive: true, mode: 0o700 });
    return statSync(path);
  } catch (error) {
    return refuse(path, messageOf(error));
  }
}

function refuse(path: string, why: string): never {
  throw new OperationError(
    `cannot use the folder ${path}: ${why}; choose another one with PORTFERRY_RUNTIME_DIR`,
  );
}
