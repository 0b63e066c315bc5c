/** Groups that run and are to end with this process at the latest, by the pids of their leaders. */
const running = new Set<number>();

function killAll(): void {
  for (const pid of running) signalGroup(pid, 'SIGKILL');
}

/** Sends a signal to a program that was started detached, and to what it has started in its process group. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // Nobody is left.
  }
}

/** Sees to it that a group does not outlive this process, until `ended` resolves. */
export function killGroupAtExit(pid: number, ended: Promise<unknown>): void {
  if (running.size === 0) process.once('exit', killAll);
  running.add(pid);
  void ended.then(() => {
    running.delete(pid);
    if (running.size === 0) process.off('exit', killAll);
  });
}

/** Variables of this prefix are options, which a child gets as flags only. */
const OPTION_PREFIX = 'PORTFERRY_';

/** The environment for a child: this process's, without options. */
export function childEnvironment(): NodeJS.ProcessEnv {
  const variables = Object.entries(process.env).filter(([variable]) => !variable.startsWith(OPTION_PREFIX));
  return Object.fromEntries(variables);
}
