import { randomFrom } from '../../protocol/fixtures/memory-link.js';

/** A process of the simulation, or all that is outside of both ends. What it has set going dies with it. */
export class Process {
  readonly name: string;
  alive = true;
  readonly immediates: Immediate[] = [];

  constructor(name: string) {
    this.name = name;
  }
}

interface Immediate {
  run: (() => void) | undefined;
}

interface Timer {
  at: number;
  run: () => void;
  process: Process;
  /** Of one that fires again and again. */
  everyMs: number | undefined;
  /** Where it was set; only of a traced run. */
  place: string | undefined;
  unref(): Timer;
  ref(): Timer;
}

/** What can happen next, one at a time: a socket, a network. */
export interface Source {
  /** Adds what could happen now, each in the process that it would happen to. */
  offer(steps: Step[]): void;
}

export interface Step {
  process: Process;
  what: string;
  run(): void;
}

/** What went against what was promised. */
export class Violation extends Error {
  override name = 'Violation';
}

/** How many of the things that a failed schedule has put off may throw. */
const MOST_ABANDONED = 1000;

type Globals = Pick<
  typeof globalThis,
  | 'setTimeout'
  | 'clearTimeout'
  | 'setInterval'
  | 'clearInterval'
  | 'setImmediate'
  | 'clearImmediate'
  | 'performance'
>;

const drain = (process as unknown as { _tickCallback(): void })._tickCallback;

/**
 * Time, chance, and the order of events of one schedule: all of it comes from one seed. While it runs, the timers,
 * the immediates and the clock that the product takes from the system are the world's. What process.nextTick,
 * queueMicrotask and promises have put off is done after each step, before anything else happens.
 */
export class World {
  readonly random: () => number;
  readonly outside = new Process('outside');
  readonly sources = new Set<Source>();
  /** In ms. */
  now = 0;
  /** How much time (ms) each step takes. */
  stepMs = 0;
  /** Steps that have been taken. */
  steps = 0;
  /** Gets each step, where somebody wants to know. */
  readonly trace: ((line: string) => void) | undefined;
  #current = this.outside;
  #processes: Process[] = [this.outside];
  #timers: Timer[] = [];
  readonly #offered: Step[] = [];
  #system: Globals | undefined;
  #failure: unknown;

  constructor(seed: number, trace?: (line: string) => void) {
    this.random = randomFrom(seed);
    this.trace = trace;
  }

  // ---- chance ----------------------------------------------------------------------------------------

  /** An integer from 0 up to, but not including, `most`. */
  below(most: number): number {
    return Math.floor(this.random() * most);
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  pick<T>(things: readonly T[]): T {
    return things[this.below(things.length)] as T;
  }

  note(what: string): void {
    this.trace?.(`${this.now.toFixed(2)} ${what}`);
  }

  // ---- processes -------------------------------------------------------------------------------------

  start(name: string): Process {
    const started = new Process(name);
    this.#processes.push(started);
    return started;
  }

  /** The process is gone at once; nobody in it hears of anything any more. */
  kill(killed: Process): void {
    killed.alive = false;
    killed.immediates.length = 0;
    this.#processes = this.#processes.filter((process) => process !== killed);
    this.#timers = this.#timers.filter(({ process }) => process !== killed);
  }

  /** Runs something as a part of a process, and all that it puts off to the end of the turn. */
  as(process: Process, run: () => void): void {
    const before = this.#current;
    this.#current = process;
    try {
      run();
      drain();
    } finally {
      this.#current = before;
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Lets something happen after a time (ms), outside of both ends. */
  later(ms: number, run: () => void): void {
    const before = this.#current;
    this.#current = this.outside;
    this.#setTimeout(run, ms);
    this.#current = before;
  }

  /** Timers that are set in a process. */
  timersOf(process: Process): string[] {
    return this.#timers
      .filter((timer) => timer.process === process)
      .map(({ at, place }) => `a timer for ${at.toFixed(1)} ms${place ?? ''}`);
  }

  // ---- steps -----------------------------------------------------------------------------------------

  /** Lets one thing happen. @returns false when nothing can, without a timer */
  step(): boolean {
    this.#fireDue();
    const steps = this.#offer();
    const step = steps[this.below(steps.length)];
    if (!step) return false;
    this.steps++;
    this.now += this.stepMs;
    this.note(`${step.process.name}: ${step.what}`);
    this.as(step.process, () => step.run());
    return true;
  }

  /** Lets the next timer have its time. @returns false when there is none by then */
  advance(until = Number.POSITIVE_INFINITY): boolean {
    const next = this.#nextTimer();
    if (!next || next.at > until) return false;
    this.now = Math.max(this.now, next.at);
    this.#fire(next);
    return true;
  }

  /** All processes have been held up for so long: timers that are late fire with the next step. */
  jump(ms: number): void {
    this.now += ms;
  }

  #offer(): Step[] {
    const steps = this.#offered;
    steps.length = 0;
    for (const process of this.#processes)
      if (process.immediates.length > 0)
        steps.push({ process, what: 'immediate', run: () => process.immediates.shift()?.run?.() });
    for (const source of this.sources) source.offer(steps);
    return steps;
  }

  #fireDue(): void {
    for (let next = this.#nextTimer(); next && next.at <= this.now; next = this.#nextTimer())
      this.#fire(next);
  }

  #nextTimer(): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) if (!next || timer.at < next.at) next = timer;
    return next;
  }

  #fire(timer: Timer): void {
    if (timer.everyMs === undefined) this.#remove(timer);
    else timer.at = this.now + timer.everyMs;
    this.note(`${timer.process.name}: timer`);
    this.as(timer.process, timer.run);
  }

  #remove(timer: Timer): void {
    const at = this.#timers.indexOf(timer);
    if (at >= 0) this.#timers.splice(at, 1);
  }

  // ---- what the product takes from the system ----------------------------------------------------------

  /** Runs a schedule in the place of the system. */
  inPlace(run: () => void): void {
    const { setTimeout, clearTimeout, setInterval, clearInterval } = globalThis;
    const { setImmediate, clearImmediate, performance } = globalThis;
    this.#system = {
      ...{ setTimeout, clearTimeout, setInterval, clearInterval },
      ...{ setImmediate, clearImmediate, performance },
    };
    const fail = (thrown: unknown): void => {
      this.#failure ??= thrown;
    };
    process.on('uncaughtException', fail).on('unhandledRejection', fail);
    const clear = (timer: Timer | undefined): void => {
      if (timer) this.#remove(timer);
    };
    const clearOne = (immediate: Immediate | undefined): void => {
      if (immediate) immediate.run = undefined;
    };
    Object.assign(globalThis, {
      setTimeout: (callback: () => void, ms = 1) => this.#setTimeout(callback, ms),
      clearTimeout: clear,
      setInterval: (callback: () => void, ms: number) => this.#setTimeout(callback, ms, ms),
      clearInterval: clear,
      setImmediate: (callback: () => void) => this.#setImmediate(callback),
      clearImmediate: clearOne,
    });
    const clock = { ...performance, now: () => this.now };
    Object.defineProperty(globalThis, 'performance', { value: clock, configurable: true, writable: true });
    try {
      run();
      // What comes of what was put off last counts, too.
      if (this.#failure !== undefined) throw this.#failure;
    } finally {
      // What a failed schedule has put off must not happen in the next one, or with the system's own timers.
      this.#abandon();
      process.off('uncaughtException', fail).off('unhandledRejection', fail);
      Object.defineProperty(globalThis, 'performance', {
        value: this.#system.performance,
        configurable: true,
        writable: true,
      });
      const { performance: _clock, ...timers } = this.#system;
      Object.assign(globalThis, timers);
    }
  }

  #abandon(): void {
    for (let tries = 0; tries < MOST_ABANDONED; tries++) {
      try {
        drain();
        return;
      } catch {
        // One that throws is followed by others.
      }
    }
  }

  #setTimeout(run: () => void, ms: number, everyMs?: number): Timer {
    const place = this.trace && (new Error('set').stack?.split('\n').slice(3, 5).join('') ?? '');
    const timer: Timer = {
      at: this.now + Math.max(1, ms),
      run,
      process: this.#current,
      everyMs,
      place,
      unref: () => timer,
      ref: () => timer,
    };
    if (this.#current.alive) this.#timers.push(timer);
    return timer;
  }

  #setImmediate(run: () => void): Immediate {
    const immediate = { run };
    if (this.#current.alive) this.#current.immediates.push(immediate);
    return immediate;
  }
}
