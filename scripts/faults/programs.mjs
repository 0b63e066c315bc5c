// The programs of one forwarder: started, hurt, and started again when they have ended.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as passing } from 'node:timers/promises';
import { readProc } from '../../build/host/bench/usage.js';

/** How long (ms) a program may take until it does what it is for. */
const START_MS = 10_000;
const RETRY_MS = 5;

/** What has ended is started again after so long (ms): what systemd does by itself with Restart=always. */
const RESTART_MS = 100;

/** Lines that are kept of each program's output. */
const KEPT_LINES = 1_000;

/** One program: one half of a forwarder. */
export class Half {
  /** What it has written, with the time (ms) of performance.now(). */
  lines = [];
  /** How often it was started. */
  starts = 0;
  #command;
  #ready;
  #prepare;
  #options;
  #child;
  #restarting;
  /** Whether it is started again when it has ended. */
  #again = true;

  /**
   * @param command file and arguments
   * @param ready resolves to whether it does now what it is for
   * @param options `prepare`: what is to be done after each start, when it is ready; others are spawn()'s
   */
  constructor(command, ready, { prepare = async () => {}, ...options } = {}) {
    this.#command = command;
    this.#ready = ready;
    this.#prepare = prepare;
    this.#options = { stdio: ['ignore', 'pipe', 'pipe'], ...options };
  }

  get pid() {
    return this.#child?.pid;
  }

  get running() {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves when it does what it is for. @throws when it does not in time, with its last words */
  async start() {
    this.#again = true;
    this.#spawn();
    await this.#becomesReady();
  }

  async #becomesReady() {
    const deadline = performance.now() + START_MS;
    while (!(await this.#ready())) {
      if (!this.running || performance.now() > deadline) {
        const words = this.lines.at(-1)?.text ?? 'without a word';
        throw new Error(`${this.#command[0]} ${this.running ? 'is not ready' : 'has ended'}: ${words}`);
      }
      await passing(RETRY_MS);
    }
    await this.#prepare();
  }

  /** Resolves to its exit code or signal when it has ended. */
  async ended() {
    const child = this.#child;
    if (this.running) await once(child, 'exit');
    return child.exitCode ?? child.signalCode;
  }

  /** SIGKILL to it and to all that it has started. @returns when that was sent: ms of performance.now() */
  async kill() {
    return signal(await this.#pids(), 'SIGKILL');
  }

  async freeze() {
    return signal(await this.#pids(), 'SIGSTOP');
  }

  async thaw() {
    return signal(await this.#pids(), 'SIGCONT');
  }

  /** It, and its descendants. */
  async #pids() {
    const found = [this.pid];
    const table = [...(await readProc()).values()];
    for (const pid of found)
      found.push(...table.filter(({ parent }) => parent === pid).map(({ pid: child }) => child));
    return found;
  }

  /** Ends it in order, until start(). Resolves when it has ended. */
  async end() {
    this.#again = false;
    clearTimeout(this.#restarting);
    if (!this.running) return;
    this.#child.kill('SIGTERM');
    await this.ended();
  }

  /** Nobody reads any more what it writes. */
  closeLog() {
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
  }

  /** Ends it, and what it has started, for good. */
  async stop() {
    this.#again = false;
    clearTimeout(this.#restarting);
    if (this.running) {
      await this.kill();
      await this.ended();
    }
  }

  /** What it has written since `time`. */
  since(time) {
    return this.lines.filter(({ at }) => at >= time).map(({ text }) => text);
  }

  #spawn() {
    const [file, ...args] = this.#command;
    this.starts++;
    const child = spawn(file, args, this.#options);
    this.#child = child;
    child.on('error', (error) => this.#note(error.message));
    for (const output of [child.stdout, child.stderr])
      if (output) createInterface({ input: output }).on('line', (line) => this.#note(line));
    child.on('exit', () => {
      if (this.#again) this.#restarting = setTimeout(() => this.#restart(), RESTART_MS);
    });
  }

  async #restart() {
    this.#spawn();
    // Where it ends once more it is started once more.
    await this.#becomesReady().catch(() => {});
  }

  #note(text) {
    this.lines.push({ at: performance.now(), text });
    if (this.lines.length > KEPT_LINES) this.lines.shift();
  }
}

function signal(pids, name) {
  const at = performance.now();
  for (const pid of pids)
    try {
      process.kill(pid, name);
    } catch {
      // It has ended by itself.
    }
  return at;
}
