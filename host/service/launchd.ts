import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { OperationError } from '../../protocol/errors.js';
import { homeOf, type ServiceDefinition, serviceLogPath } from './definition.js';
import { commandOfPlist, EXIT_TIMEOUT_SECONDS, launchdLabel, launchdPlist } from './launchd-plist.js';
import { type CommandResult, type RunCommand, runCommand } from './run-command.js';
import { runningSince } from './running-since.js';
import { ServiceFile } from './service-file.js';
import type { ServiceManager, ServiceState } from './service-manager.js';

/** How often (ms) launchd is asked whether something has happened. */
const POLL_MS = 100;

/** How long (ms) a job may take to be gone: its ExitTimeOut, and a little. */
const GONE_MS = (EXIT_TIMEOUT_SECONDS + 5) * 1000;

/** How long (ms) a job may take to have a process. */
const STARTED_MS = 10_000;

/** bootstrap fails with this code, EIO, while the last job of the same label is on its way out. */
export const INPUT_OUTPUT_ERROR = 5;
const BOOTSTRAP_ATTEMPTS = 5;
const BOOTSTRAP_PAUSE_MS = 500;

const FORMAT = { entry: 'ProgramArguments', commandOf: commandOfPlist };

export interface LaunchdOptions {
  environment: NodeJS.ProcessEnv;
  uid: number;
  /** How launchctl is run. */
  run?: RunCommand;
  /** Waits (ms). */
  wait?: (ms: number) => Promise<unknown>;
}

/** What `launchctl print` says of a job, as far as its form, which is no promise, is understood. */
interface Job {
  pid: number | undefined;
  lastExit: string | undefined;
}

/** launchd's agents of a user on macOS, by its program launchctl. */
export class Launchd implements ServiceManager {
  readonly #environment: NodeJS.ProcessEnv;
  readonly #uid: number;
  readonly #run: RunCommand;
  readonly #wait: (ms: number) => Promise<unknown>;

  constructor({ environment, uid, run = runCommand, wait = delay }: LaunchdOptions) {
    this.#environment = environment;
    this.#uid = uid;
    this.#run = run;
    this.#wait = wait;
  }

  render(definition: ServiceDefinition): string {
    return launchdPlist(definition, this.#crashLogPath(definition.name));
  }

  async install(definition: ServiceDefinition): Promise<void> {
    const { name } = definition;
    // launchd makes no folder for the files that it opens.
    await mkdir(dirname(this.#crashLogPath(name)), { recursive: true });
    await this.#bootout(name);
    await this.#file(name).write(this.render(definition));
    await this.#load(name);
  }

  async uninstall(name: string): Promise<boolean> {
    const wasLoaded = await this.#bootout(name);
    const existed = await this.#file(name).remove();
    return existed || wasLoaded;
  }

  async start(name: string): Promise<void> {
    await this.#file(name).command();
    const target = await this.#target(name);
    const job = await this.#job(target);
    if (job?.pid !== undefined) return;
    if (job) await this.#kickstart(target, name);
    else await this.#load(name);
  }

  async stop(name: string): Promise<void> {
    await this.#file(name).command();
    await this.#bootout(name);
  }

  async state(name: string): Promise<ServiceState> {
    const file = this.#file(name);
    const state: ServiceState = {
      file: file.path,
      installed: (await file.read()) !== undefined,
      running: false,
    };
    const job = await this.#job(await this.#target(name));
    if (job?.pid !== undefined) {
      state.running = true;
      state.pid = job.pid;
      const since = await this.#startOf(job.pid);
      if (since !== undefined) state.since = since;
    }
    if (job?.lastExit !== undefined) state.lastExit = job.lastExit;
    const problem = state.installed ? await file.problem() : undefined;
    if (problem !== undefined) state.problem = problem;
    return state;
  }

  // ---- steps -----------------------------------------------------------------------------------------

  /** bootstrap only registers a job, which launchd may put off for long; kickstart starts it. */
  async #load(name: string): Promise<void> {
    const domain = await this.#domain();
    const target = `${domain}/${launchdLabel(name)}`;
    // One that was disabled, by hand or by an earlier uninstall, would be refused.
    await this.#run('launchctl', ['enable', target]);
    await this.#bootstrap(domain, name);
    await this.#kickstart(target, name);
  }

  async #bootstrap(domain: string, name: string): Promise<void> {
    const { path } = this.#file(name);
    let attempts = 0;
    for (;;) {
      const result = await this.#run('launchctl', ['bootstrap', domain, path]);
      if (result.code === 0 || (await this.#job(`${domain}/${launchdLabel(name)}`))) return;
      if (result.code !== INPUT_OUTPUT_ERROR || ++attempts === BOOTSTRAP_ATTEMPTS)
        throw failure(`take ${path}`, result, `look at it with: plutil -lint ${path}`);
      await this.#wait(BOOTSTRAP_PAUSE_MS);
    }
  }

  async #kickstart(target: string, name: string): Promise<void> {
    const result = await this.#run('launchctl', ['kickstart', target]);
    if (result.code !== 0) throw failure(`start ${target}`, result, `see launchctl print ${target}`);
    const job = await this.#until(STARTED_MS, async () => {
      const now = await this.#job(target);
      return now?.pid === undefined && now?.lastExit === undefined ? undefined : now;
    });
    if (job?.pid !== undefined) return;
    const how =
      job?.lastExit === undefined ? 'launchd has not started it' : `it ended at once with ${job.lastExit}`;
    const log = serviceLogPath(name, 'darwin', this.#environment);
    throw new OperationError(
      `the service does not run: ${how}; ${log} and ${this.#crashLogPath(name)} may say why`,
    );
  }

  /** bootout returns before the job is gone, and a bootstrap right after it would fail. @returns whether it was there */
  async #bootout(name: string): Promise<boolean> {
    const target = await this.#target(name);
    if (!(await this.#job(target))) return false;
    const result = await this.#run('launchctl', ['bootout', target]);
    const gone = await this.#until(GONE_MS, async () => ((await this.#job(target)) ? undefined : true));
    if (!gone) throw failure(`end ${target}`, result, `try launchctl bootout ${target}`);
    return true;
  }

  // ---- what is known ---------------------------------------------------------------------------------

  async #target(name: string): Promise<string> {
    return `${await this.#domain()}/${launchdLabel(name)}`;
  }

  /** Without a login at the screen, over ssh say, there is no gui domain. */
  async #domain(): Promise<string> {
    const gui = `gui/${this.#uid}`;
    const { code } = await this.#run('launchctl', ['print', gui]);
    return code === 0 ? gui : `user/${this.#uid}`;
  }

  async #job(target: string): Promise<Job | undefined> {
    const { code, stdout } = await this.#run('launchctl', ['print', target]);
    if (code !== 0) return undefined;
    const pid = /^\s*pid = ([1-9]\d{0,9})\b/m.exec(stdout)?.[1];
    const exit = /^\s*last exit code = (-?\d+)/m.exec(stdout)?.[1];
    const signal = /^\s*last terminating signal = (.+)$/m.exec(stdout)?.[1];
    const lastExit = signal ?? (exit === undefined ? undefined : `exit code ${exit}`);
    return { pid: pid === undefined ? undefined : Number(pid), lastExit };
  }

  async #startOf(pid: number): Promise<string | undefined> {
    const { code, stdout } = await this.#run('ps', ['-o', 'etime=', '-p', String(pid)]);
    const seconds = code === 0 ? secondsOf(stdout.trim()) : undefined;
    return seconds === undefined ? undefined : runningSince(seconds);
  }

  #file(name: string): ServiceFile {
    const folder = join(homeOf(this.#environment), 'Library', 'LaunchAgents');
    return new ServiceFile(join(folder, `${launchdLabel(name)}.plist`), FORMAT);
  }

  #crashLogPath(name: string): string {
    return serviceLogPath(name, 'darwin', this.#environment).replace(/\.log$/, '.crash.log');
  }

  async #until<T>(deadlineMs: number, look: () => Promise<T | undefined>): Promise<T | undefined> {
    let waited = 0;
    for (;;) {
      const found = await look();
      if (found !== undefined || waited >= deadlineMs) return found;
      await this.#wait(POLL_MS);
      waited += POLL_MS;
    }
  }
}

/** `[[days-]hours:]minutes:seconds`, as ps writes the time that a process has run. */
export function secondsOf(etime: string): number | undefined {
  const [matched, days = 0, hours = 0, minutes, seconds] =
    /^(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)$/.exec(etime) ?? [];
  if (matched === undefined) return undefined;
  return ((Number(days) * 24 + Number(hours)) * 60 + Number(minutes)) * 60 + Number(seconds);
}

function failure(what: string, { code, stderr, stdout }: CommandResult, next: string): OperationError {
  const said = (stderr.trim() || stdout.trim() || 'it gave no reason').replaceAll(/\s*\n\s*/g, '; ');
  return new OperationError(`launchd does not ${what}: ${said} (launchctl's exit code ${code}); ${next}`);
}
