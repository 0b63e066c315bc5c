import { homedir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../../protocol/errors.js';

/** The platforms that have a manager of services which portferry knows. */
export type ServicePlatform = 'darwin' | 'linux';

/** What a service is made of, whoever manages it. */
export interface ServiceDefinition {
  /** Tells several services of a user apart. */
  name: string;
  /** The first is the program, by an absolute path; the rest are its arguments. */
  command: readonly [file: string, ...args: string[]];
  /** Variables that the program gets beside those of its manager. */
  environment: Readonly<Record<string, string>>;
  /** What the program itself writes and rotates. */
  logPath: string;
  /** The user's home, which is where the program runs. */
  home: string;
}

/** The service that is meant when no name is given. */
export const DEFAULT_NAME = 'host';

/** Names become parts of file names and of labels. */
const NAME = /^[a-z0-9][a-z0-9-]{0,31}$/;

/** The variables of portferry's own, all of which a service keeps. */
const OWN_VARIABLES = /^PORTFERRY_/;
/** Without it a service finds little more than the system's own programs. */
const PATH = 'PATH';

/** @throws UsageError when it is no name for a service */
export function checkName(name: string): void {
  if (NAME.test(name)) return;
  throw new UsageError(
    `--name must be 1 to 32 lower-case letters, digits or dashes, and not begin with a dash, not ${JSON.stringify(name)}`,
  );
}

/** What a service gets of the environment that it is installed from. */
export function serviceEnvironment(environment: NodeJS.ProcessEnv): Record<string, string> {
  const kept = Object.entries(environment).filter(([name]) => OWN_VARIABLES.test(name) || name === PATH);
  return Object.fromEntries(kept.map(([name, value = '']) => [name, value]));
}

/** The home of the user, as the environment has it. */
export function homeOf(environment: NodeJS.ProcessEnv): string {
  return environment['HOME'] || homedir();
}

/** Where a service writes its log: where each platform keeps the logs of a user's programs. */
export function serviceLogPath(
  name: string,
  platform: ServicePlatform,
  environment: NodeJS.ProcessEnv,
): string {
  const home = homeOf(environment);
  const folder =
    platform === 'darwin'
      ? join(home, 'Library', 'Logs', 'portferry')
      : join(environment['XDG_STATE_HOME'] || join(home, '.local', 'state'), 'portferry');
  return join(folder, `${name}.log`);
}
