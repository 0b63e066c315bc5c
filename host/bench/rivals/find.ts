import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '../../../protocol/errors.js';
import type { Found } from './rival.js';

/** Programs tell their version at once. */
const VERSION_TIMEOUT_MS = 10_000;

/** Folders for daemons, which a user's PATH often lacks. */
const DAEMON_FOLDERS = ['/usr/sbin', '/sbin', '/usr/local/sbin'];

/** find() for a rival that is one program: its version, as it tells it when called with `versionArgs`. */
export async function findByVersion(name: string, ...versionArgs: string[]): Promise<Found> {
  const file = await findProgram(name);
  if (file === undefined) return { absent: `no ${name} on PATH` };
  try {
    return { version: versionArgs.length > 0 ? await versionOf(file, versionArgs) : '' };
  } catch (thrown) {
    return { absent: `${name} does not run: ${messageOf(thrown)}` };
  }
}

/** The file of a program that find() has found. */
export async function programFile(name: string): Promise<string> {
  return (await findProgram(name)) ?? name;
}

async function findProgram(name: string): Promise<string | undefined> {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  for (const folder of [...folders, ...DAEMON_FOLDERS]) {
    const file = join(folder, name);
    try {
      await access(file, constants.X_OK);
      return file;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/** The first line that a program prints of itself with a version in it. */
async function versionOf(file: string, args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(file, args, { timeout: VERSION_TIMEOUT_MS });
  const lines = `${stdout}\n${stderr}`.split('\n').filter((line) => /\d\.\d/.test(line));
  return lines.map((line) => line.trim())[0] ?? '';
}
