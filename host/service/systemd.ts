import { join } from 'node:path';
import { OperationError } from '../../protocol/errors.js';
import { homeOf, type ServiceDefinition } from './definition.js';
import { type CommandResult, type RunCommand, runCommand } from './run-command.js';
import { runningSince } from './running-since.js';
import { loadNotifyCalls } from './sd-notify.js';
import { ServiceFile } from './service-file.js';
import type { ServiceManager, ServiceState } from './service-manager.js';
import { commandOfUnit, systemdUnit, unitName } from './systemd-unit.js';

/** What systemctl is asked of a unit. */
const PROPERTIES = [
  'ActiveState',
  'MainPID',
  'ActiveEnterTimestampMonotonic',
  'Result',
  'ExecMainStatus',
  'ExecMainCode',
];

/** ExecMainCode of a process that was ended by a signal: CLD_KILLED and CLD_DUMPED of siginfo. */
const BY_SIGNAL = ['2', '3'];

const FORMAT = { entry: 'ExecStart', commandOf: commandOfUnit };

export interface SystemdOptions {
  environment: NodeJS.ProcessEnv;
  /** How systemctl is run. */
  run?: RunCommand;
  /** Whether the service can tell systemd when it listens. */
  notifies?: boolean;
}

/** systemd's services of a user on Linux, by its program systemctl. */
export class Systemd implements ServiceManager {
  readonly #environment: NodeJS.ProcessEnv;
  readonly #run: RunCommand;
  readonly #notifies: boolean;

  constructor({ environment, run = runCommand, notifies = loadNotifyCalls() !== null }: SystemdOptions) {
    this.#environment = environment;
    this.#run = run;
    this.#notifies = notifies;
  }

  render(definition: ServiceDefinition): string {
    return systemdUnit(definition, this.#notifies);
  }

  async install(definition: ServiceDefinition): Promise<void> {
    const { name } = definition;
    await this.#file(name).write(this.render(definition));
    await this.#systemctl('take the new unit file', ['daemon-reload']);
    await this.#systemctl('start the service at login', ['enable', unitName(name)]);
    await this.#restart(name);
  }

  async uninstall(name: string): Promise<boolean> {
    const existed = (await this.#file(name).read()) !== undefined;
    if (existed) await this.#systemctl('end the service', ['disable', '--now', unitName(name)]);
    await this.#file(name).remove();
    if (existed) await this.#systemctl('forget the service', ['daemon-reload']);
    return existed;
  }

  async start(name: string): Promise<void> {
    await this.#file(name).command();
    await this.#startWith('start', name);
  }

  async stop(name: string): Promise<void> {
    await this.#file(name).command();
    await this.#systemctl('stop the service', ['stop', unitName(name)]);
  }

  async state(name: string): Promise<ServiceState> {
    const file = this.#file(name);
    const installed = (await file.read()) !== undefined;
    const state: ServiceState = { file: file.path, installed, running: false };
    if (!installed) return state;
    const found = await this.#properties(name);
    if (found['ActiveState'] === 'active') {
      state.running = true;
      const pid = Number(found['MainPID']);
      if (Number.isSafeInteger(pid) && pid > 0) state.pid = pid;
      const since = timeOf(Number(found['ActiveEnterTimestampMonotonic']));
      if (since !== undefined) state.since = since;
    }
    const lastExit = lastExitOf(found);
    if (lastExit !== undefined) state.lastExit = lastExit;
    const problem = await file.problem();
    if (problem !== undefined) state.problem = problem;
    return state;
  }

  // ---- inside ----------------------------------------------------------------------------------------

  async #restart(name: string): Promise<void> {
    await this.#startWith('restart', name);
  }

  /** One that has failed too often is not started before that is forgotten. */
  async #startWith(verb: 'start' | 'restart', name: string): Promise<void> {
    await this.#run('systemctl', ['--user', 'reset-failed', unitName(name)]);
    await this.#systemctl('start the service', [verb, unitName(name)]);
  }

  async #systemctl(what: string, args: readonly string[]): Promise<CommandResult> {
    const result = await this.#run('systemctl', ['--user', ...args]);
    if (result.code === 0) return result;
    const said = (result.stderr.trim() || 'it gave no reason').replaceAll(/\s*\n\s*/g, ' ');
    const next = /connect to bus|No medium found/i.test(said)
      ? 'this user has no systemd of its own at present: log in anew, or see loginctl enable-linger'
      : 'portferry service status has the last lines of its log';
    throw new OperationError(`systemd does not ${what}: ${said}; ${next}`);
  }

  async #properties(name: string): Promise<Record<string, string>> {
    const { stdout } = await this.#systemctl('tell of the service', [
      'show',
      unitName(name),
      `--property=${PROPERTIES.join()}`,
    ]);
    return Object.fromEntries(stdout.split('\n').map((line) => line.split(/=(.*)/s).slice(0, 2)));
  }

  #file(name: string): ServiceFile {
    const folder = this.#environment['XDG_CONFIG_HOME'] || join(homeOf(this.#environment), '.config');
    return new ServiceFile(join(folder, 'systemd', 'user', unitName(name)), FORMAT);
  }
}

/** @param micros of the monotonic clock, which is that of hrtime: the other form names a time zone */
function timeOf(micros: number): string | undefined {
  return micros > 0 ? runningSince(Number(process.hrtime.bigint()) / 1e9 - micros / 1e6) : undefined;
}

function lastExitOf(found: Record<string, string>): string | undefined {
  const { ExecMainCode: code = '0', ExecMainStatus: status, Result: result } = found;
  if (code === '0') return undefined;
  const how = BY_SIGNAL.includes(code) ? `signal ${status}` : `exit code ${status}`;
  return result === 'success' || result === 'exit-code' || result === 'signal' ? how : `${how} (${result})`;
}
