import { WINDOW_BUDGET_BYTES } from '../../../protocol/window.js';
import { FEATURES, type Feature } from '../../../protocol/wire/handshake.js';
import type { End, EndOptions } from './end.js';
import { Network } from './network.js';
import { SimulatedSocket } from './simulated-socket.js';
import { Violation, World } from './world.js';

/** Steps after which a schedule that has not come to its end is taken for one that never will. */
const MOST_STEPS = 200_000;

/** Time (ms) that everything has to come to its end, once nothing is in its way: timeouts are shorter. */
const LONGEST_END_MS = 120_000;

/** What a step may take (ms) on a machine so slow that a peer may be taken for dead which is not. */
const SLOW_STEP_MS = 30;

export type Which = 'host' | 'guest';

/** One run of two ends: all that happens in it follows from its seed. What the ends are for, subclasses say. */
export abstract class Schedule<Host extends End = End, Guest extends End = End> {
  readonly world: World;
  readonly network: Network;
  host!: Host;
  guest!: Guest;
  readonly #hostListens: boolean;
  #features: { host: readonly Feature[]; guest: readonly Feature[] };
  /** Something has been done to the channel, and it is not known to stand again. */
  #shaken = false;

  constructor(seed: number, trace?: (line: string) => void) {
    this.world = new World(seed, trace);
    const { world } = this;
    world.stepMs = world.pick([0, 0, 0.02, SLOW_STEP_MS]);
    this.network = new Network(world);
    this.#hostListens = world.chance(0.5);
    this.#features = { host: this.#pickFeatures(), guest: this.#pickFeatures() };
  }

  protected abstract makeHost(options: EndOptions): Host;
  protected abstract makeGuest(options: EndOptions): Guest;

  // ---- the two ends ----------------------------------------------------------------------------------

  /** Starts the two ends; in the place of the system. */
  begin(): void {
    this.#start('host');
    this.#start('guest');
  }

  /** The process of one end is gone, with all that it had, and is started again. */
  kill(which: Which): void {
    const { world } = this;
    const { process } = this[which];
    world.note(`the ${which} is killed`);
    this.disturbAll();
    world.kill(process);
    for (const source of [...world.sources])
      if (source instanceof SimulatedSocket && source.process === process) source.vanish();
    this.onGone(which);
    this.restart(which);
  }

  restart(which: Which): void {
    this.#features[which] = this.#pickFeatures();
    this.#start(which);
  }

  /** Something has happened to the channel, or to an end: whatever there is may fail. */
  disturbAll(): void {
    this.#shaken = true;
  }

  /** Whether what is begun now may fail though nothing is done to it. */
  get shaky(): boolean {
    return this.world.stepMs === SLOW_STEP_MS || this.#shaken || this.host.stopping || this.guest.stopping;
  }

  /** The process of an end has been killed. */
  protected onGone(_which: Which): void {}

  #start(which: Which): void {
    const { world, network } = this;
    const { host, guest } = this.#features;
    network.early = host.includes('early-data') && guest.includes('early-data');
    const options = { world, network, features: this.#features[which] };
    const listens = this.#hostListens === (which === 'host');
    const mode = listens ? 'listen' : 'connect';
    if (which === 'host') this.host = this.makeHost({ ...options, mode });
    else this.guest = this.makeGuest({ ...options, mode });
  }

  #pickFeatures(): readonly Feature[] {
    const { world } = this;
    if (world.chance(0.6)) return FEATURES;
    return world.chance(0.4) ? [] : FEATURES.filter(() => world.chance(0.6));
  }

  // ---- running ---------------------------------------------------------------------------------------

  run(most: number): void {
    for (let count = 0; count < most; count++) if (!this.world.step()) return;
  }

  /** Lets everything happen that can without time. */
  settle(): void {
    while (this.world.step()) this.#checkSteps();
    if (this.stands) this.#shaken = false;
  }

  /** Whether both ends have the same channel, and nothing is in its way. */
  get stands(): boolean {
    const wires = this.network.live().flat();
    const free = wires.length === 2 && wires.every(({ destroyed, frozen }) => !destroyed && !frozen);
    return free && this.host.keeper.takesStreams && this.guest.keeper.takesStreams;
  }

  /** Lets time pass until everything is over. */
  runToEnd(isDone: () => boolean, what: () => string, longestMs = LONGEST_END_MS): void {
    const until = this.world.now + longestMs;
    for (;;) {
      this.settle();
      if (isDone()) return;
      this.#checkSteps();
      // Looking has perhaps set something going.
      if (this.world.step()) continue;
      if (!this.world.advance(until)) throw new Violation(`nothing goes on any more: ${what()}`);
    }
  }

  /** Lets time pass, whatever comes of it. */
  pass(ms: number): void {
    const until = this.world.now + ms;
    do this.settle();
    while (this.world.advance(until));
  }

  #checkSteps(): void {
    if (this.world.steps > MOST_STEPS)
      throw new Violation(`still at work after ${MOST_STEPS} steps: it will not come to an end`);
  }

  // ---- the end ---------------------------------------------------------------------------------------

  /** Nothing is in anybody's way any more; whoever was stopping is started again. */
  protected calm(): void {
    this.world.note('the end begins');
    for (const wire of this.network.live()) for (const socket of wire) socket.frozen = false;
    this.network.outcomes = [];
    for (const which of ['host', 'guest'] as const) {
      const end = this[which];
      if (!end.stopping) continue;
      this.runToEnd(
        () => end.stopped,
        () => `the ${which} does not stop`,
      );
      this.restart(which);
    }
    this.settle();
  }

  /** @throws Violation when an end still holds what belongs to what is over */
  protected checkNothingHeld(): void {
    for (const { keeper, pool, process } of [this.host, this.guest]) {
      const { multiplexer } = keeper;
      if (multiplexer) {
        if (multiplexer.streams.size > 0)
          throw new Violation(`the ${process.name} still has streams:\n${multiplexer.describe()}`);
        if (multiplexer.budget.free !== WINDOW_BUDGET_BYTES)
          throw new Violation(`${WINDOW_BUDGET_BYTES - multiplexer.budget.free} bytes of credit are lost`);
        if (multiplexer.skipped.unknown > 0) throw new Violation('a frame was unknown');
      }
      if (pool.out > 1) throw new Violation(`${pool.out} slabs are held by the ${process.name}`);
    }
  }

  protected stopBoth(): void {
    const ends: End[] = [this.host, this.guest];
    for (const end of this.world.chance(0.5) ? ends : ends.reverse()) end.stop(1_000);
    this.runToEnd(
      () => ends.every(({ stopped }) => stopped),
      () => 'an end does not stop',
    );
    this.settle();
    for (const { process, pool } of ends) {
      const [timer] = this.world.timersOf(process);
      if (timer) throw new Violation(`the ${process.name} has stopped, and still has ${timer}`);
      if (pool.out > 0)
        throw new Violation(`the ${process.name} has stopped, and still holds ${pool.out} slabs`);
    }
    for (const end of ends) end.recycle();
  }
}
