import { waitedOf } from './resources.js';

/** How often (ms) it is looked how late a timer is. */
const BEAT_MS = 20;

/** A time, and how late everything had been until then (ms). */
export interface Mark {
  readonly at: number;
  readonly late: number;
}

/**
 * How late the machine itself is: whoever has much else to do, and few processors, keeps no time limit to the
 * millisecond. What counts is what has been measured meanwhile, so that a limit is as strict as the machine is quiet:
 * how much later than due a timer of this process fired, and how long the programs could have run, but no processor
 * was free for them. They wait for each other, so that all of it adds up.
 */
export class Machine {
  readonly #pids: () => readonly number[];
  readonly #timer: NodeJS.Timeout;
  #dueAt = performance.now() + BEAT_MS;
  #late = 0;

  /** @param pids whose waits count */
  constructor(pids: () => readonly number[]) {
    this.#pids = pids;
    this.#timer = setInterval(() => this.#beat(), BEAT_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  mark(): Mark {
    return { at: performance.now(), late: this.#sum };
  }

  /** How long ago (ms) it was, what the machine was late meanwhile left out. */
  since({ at, late }: Mark): number {
    // Of programs that were started anew nothing is known from before.
    return performance.now() - at - Math.max(0, this.#sum - late);
  }

  get #sum(): number {
    return this.#late + this.#pids().reduce((sum, pid) => sum + waitedOf(pid), 0);
  }

  #beat(): void {
    const now = performance.now();
    this.#late += Math.max(0, now - this.#dueAt);
    this.#dueAt = now + BEAT_MS;
  }
}
