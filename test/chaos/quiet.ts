import { isDeepStrictEqual } from 'node:util';
import type { Machine } from './machine.js';
import { type Holdings, holdingsOf, memoryOf, wakeUpsOf } from './resources.js';
import { PROGRAM_NAMES, type System } from './system.js';

/** So long (ms) after the last connection all is as it was at first; flows of datagrams end after 2 s. */
const SETTLED_MS = 5_000;

/** So long (ms) after that no timer runs: what a heartbeat and a log's summary still have to say takes a while. */
const RESTED_MS = 20_000;

/** How often (ms) it is looked at; what has not changed for so many looks stays so. */
const LOOK_MS = 250;
const SAME_LOOKS = 4;

/**
 * What the memory of a program may have grown by (MiB) since it was quiet for the first time: what a collector of
 * garbage leaves lying about, and far less than a run carries.
 */
const GROWTH_MIB = 64;

/** While nobody is connected no timer runs: within so long (ms) a program wakes up no more often than this. */
const REST_MS = 2_000;
const REST_WAKE_UPS = 4;

/** What there is while nobody is connected. */
interface Rest {
  readonly host: Holdings | undefined;
  readonly guest: Holdings | undefined;
  readonly forwards: number;
  readonly failedForwards: number;
  readonly leases: number;
  readonly streams: number;
  readonly open: number;
  readonly multiplexer: number;
  readonly atDestination: number;
}

/** Compares what is there when it is quiet with what was there at first. */
export class Quiet {
  readonly #system: System;
  readonly #machine: Machine;
  #first: Rest | undefined;
  /** By process id: what a program needed when it was quiet for the first time. */
  readonly #memory = new Map<number, number>();
  /** The most that a program has grown by (MiB). */
  growthMib = 0;
  /** The longest time (ms) until all was as at first. */
  settledMs = 0;

  constructor(system: System, machine: Machine) {
    this.#system = system;
    this.#machine = machine;
  }

  /** Resolves to what is not as it was at first; the first time that is what counts from then on. */
  async check(): Promise<string[]> {
    const faults = [...(await this.#settle()), ...(await this.#restless())];
    for (const name of PROGRAM_NAMES) {
      const pid = this.#system.pid(name);
      const now = memoryOf(pid);
      const first = this.#memory.get(pid) ?? now;
      this.#memory.set(pid, first);
      this.growthMib = Math.max(this.growthMib, now - first);
      if (now - first > GROWTH_MIB)
        faults.push(`the ${name} has grown from ${first.toFixed(0)} to ${now.toFixed(0)} MiB`);
    }
    return faults;
  }

  async #settle(): Promise<string[]> {
    const began = this.#machine.mark();
    let before: Rest | undefined;
    let same = 0;
    for (;;) {
      const now = await this.#look();
      same = isEmpty(now) && isDeepStrictEqual(now, before) ? same + 1 : 1;
      if (this.#first ? isDeepStrictEqual(now, this.#first) : same === SAME_LOOKS) {
        this.#first ??= now;
        this.settledMs = Math.max(this.settledMs, Math.round(this.#machine.since(began)));
        return [];
      }
      if (this.#machine.since(began) > SETTLED_MS) {
        const first = this.#first ?? before;
        this.#first ??= now;
        return [`when it was quiet there was ${JSON.stringify(now)}, and before ${JSON.stringify(first)}`];
      }
      before = now;
      await passing(LOOK_MS);
    }
  }

  /** @returns which program goes on waking up though there is nothing to do */
  async #restless(): Promise<string[]> {
    const began = this.#machine.mark();
    for (;;) {
      const before = PROGRAM_NAMES.map((name) => wakeUpsOf(this.#system.pid(name)));
      await passing(REST_MS);
      const restless = PROGRAM_NAMES.flatMap((name, index) => {
        const count = wakeUpsOf(this.#system.pid(name)) - (before[index] ?? 0);
        return count > REST_WAKE_UPS ? [`the ${name} wakes up ${count} times in ${REST_MS} ms`] : [];
      });
      if (restless.length === 0 || this.#machine.since(began) > RESTED_MS) return restless;
    }
  }

  async #look(): Promise<Rest> {
    const { control } = this.#system;
    // First of all: asking the host takes a descriptor of it, which it closes in its own time.
    const [host, guest] = PROGRAM_NAMES.map((name) => holdingsOf(this.#system.pid(name)));
    const { status, leases, connections, multiplexer } = await control.dump();
    return {
      host,
      guest,
      forwards: status.forwards,
      failedForwards: status.failedForwards,
      leases: leases.length,
      streams: status.channel.streams,
      open: connections.open.length,
      multiplexer: multiplexer.length,
      atDestination: (await this.#system.openAtDestination()).length,
    };
  }
}

/** Nobody is there any more. */
function isEmpty({ open, atDestination }: Rest): boolean {
  return open === 0 && atDestination === 0;
}

function passing(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
