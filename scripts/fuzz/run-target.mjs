// One target of test/fuzz, in processes of its own, which may hang, crash or use up their memory.
import { fork } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * How long (ms) an input may take of the processor, and in all, before the target counts as hanging: on a machine that
 * does other work beside, a process may not run at all for a minute. And how often that is looked at.
 */
const HANG = { cpuMs: 10_000, ms: 180_000, lookMs: 1_000 };

/** A tick of /proc/PID/stat (ms). */
const TICK_MS = 10;

/** What a target may make of an input (MiB). */
const MAX_HEAP_MB = 512;

/** What is shown of a process that has crashed. */
const MAX_STDERR_LENGTH = 8_000;

/**
 * Looks for an input on which a target fails. What is found is held against a fresh process: the input alone, and
 * else all that went before it once more.
 * @param bundle as bundleTargets() makes it
 * @param task its name, seed and inputs, and for how many seconds it is looked for, or with how much work: as many
 *   runs as take as long as so many of the cheapest target
 * @param hang how long an input may take
 * @returns what is reported; `found` has been found again, but where it is `once`
 */
export async function runTarget(bundle, folder, task, hang = HANG) {
  const { name, seed, inputs } = task;
  const result = await inProcess(bundle, folder, task, hang);
  if (result.found === undefined) return result;
  const alone = await inProcess(bundle, folder, { name, replay: result.found }, hang);
  if (alone.found !== undefined) return { ...result, message: alone.message };
  const again = await inProcess(bundle, folder, { name, seed, inputs, runs: result.runs }, hang);
  if (again.found === undefined) return { ...result, once: true };
  return { ...again, message: `only after what went before it, up to run ${result.runs}\n${again.message}` };
}

function inProcess(bundle, folder, task, hang) {
  const currentPath = join(folder, `${task.name}.current`);
  const child = fork(bundle, {
    execArgv: [`--max-old-space-size=${MAX_HEAP_MB}`],
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    // It is killed in the end: what it has made is removed with the folder.
    env: { ...process.env, TMPDIR: folder },
  });
  child.send({ ...task, currentPath });
  /** What the child runs: the number of the run, a line break, and the input. */
  const current = () => {
    const text = textOf(currentPath) || '0\n';
    const end = text.indexOf('\n');
    return { run: text.slice(0, end), input: text.slice(end + 1) };
  };
  return new Promise((resolve, reject) => {
    let last = '';
    let since = Date.now();
    let cpuBefore = 0;
    let stderr = '';
    const watch = setInterval(() => {
      const { run, input } = current();
      const cpu = cpuMsOf(child.pid);
      if (run !== last) [last, since, cpuBefore] = [run, Date.now(), cpu];
      else if (cpu - cpuBefore > hang.cpuMs || Date.now() - since > hang.ms)
        end({ found: input, runs: Number(run), message: 'it does not end' });
    }, hang.lookMs);
    const end = (result) => {
      clearInterval(watch);
      child.kill('SIGKILL');
      resolve(result);
    };
    child.stderr.on('data', (chunk) => {
      stderr = `${stderr}${chunk}`.slice(-MAX_STDERR_LENGTH);
    });
    child.on('message', end);
    child.on('close', (code, signal) => {
      const { run, input } = current();
      const message = `the process ended with ${code ?? signal}\n${stderr}`;
      // It has not come to any input.
      if (run === '0') reject(new Error(`${task.name} cannot be run: ${message}`));
      end({ found: input, runs: Number(run), message });
    });
  });
}

/** What a process has used of the processor (ms); NaN where the system does not say it. */
function cpuMsOf(pid) {
  const stat = textOf(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** What is in a file; nothing where there is none. */
function textOf(path) {
  return existsSync(path) ? readFileSync(path, 'latin1') : '';
}
