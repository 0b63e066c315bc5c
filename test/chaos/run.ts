import { Clients } from './clients.js';
import { Datagrams } from './datagrams.js';
import { FAULTS, type Fault } from './faults.js';
import { Ledger } from './ledger.js';
import { Machine, type Mark } from './machine.js';
import { Publisher, SteadyPublisher } from './publishers.js';
import { Quiet } from './quiet.js';
import { Random } from './random.js';
import { type Parts, Recoveries, type Recovery, TRY_MS, untilWorks } from './recovery.js';
import type { System } from './system.js';

/** How long (ms) there are faults, until it is looked whether anything has stayed behind. */
const ROUND_MS = 40_000;

/** Between two faults (ms): enough for connections that see none of them. */
const CALM_MS = { least: 500, most: 2_500 };

/** What takes longer (ms) than its limit is given up then. */
const HOPELESS_MS = 30_000;

/** How long (ms) connections may take to end when no more come. */
const FINISH_MS = 60_000;

/** How often (ms) it is looked whether anything stands still. */
const LOOK_MS = 1_000;

/** How late the machine has been is taken from so many looks: more than what stands still is given. */
const LATE_LOOKS = 12;

/** What must not be, with all that helps to find out why. */
export interface Violation {
  readonly what: string;
  readonly evidence: readonly string[];
}

/** How a run went. */
export interface Outcome {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: number;
  readonly connections: number;
  readonly bytes: number;
  /** How clients' connections ended, with how many of each. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly datagrams: { readonly sent: number; readonly answered: number };
  readonly published: number;
  /** Containers that have come and gone. */
  readonly containers: number;
  /** How long it took after each kind of fault until everything worked again. */
  readonly recoveryMs: Readonly<Record<string, Recovery>>;
  /** The longest time (ms) until nothing was left when everybody had gone. */
  readonly settledMs: number;
  /** What a program's memory has grown by at most (MiB). */
  readonly growthMib: number;
  readonly violations: readonly Violation[];
}

/** One run: load and faults by a seed, and what is to be true all the while. */
export class Run {
  readonly #seed: number;
  readonly #system: System;
  readonly #ledger = new Ledger();
  readonly #clients: Clients;
  readonly #datagrams: Datagrams;
  readonly #publishers: readonly Publisher[];
  readonly #parts: Parts;
  readonly #machine: Machine;
  readonly #quiet: Quiet;
  readonly #random: Random;
  readonly #recoveries = new Recoveries();
  readonly #violations: Violation[] = [];
  readonly #startedAt = performance.now();
  /** Of the last looks. */
  readonly #marks: Mark[] = [];
  readonly #onViolation: () => void;
  readonly #kinds: readonly string[];
  readonly #violated: Promise<void>;

  constructor(seed: number, system: System) {
    this.#seed = seed;
    this.#system = system;
    this.#random = new Random(seed, 'faults');
    let onViolation = (): void => {};
    this.#violated = new Promise((resolve) => {
      onViolation = resolve;
    });
    this.#onViolation = onViolation;
    const violate = (what: string, id?: number): void => this.#violate(what, id);
    const { ports, proxySocket } = system;
    this.#machine = new Machine(() =>
      (['host', 'guest', 'destination'] as const).map((name) => system.pid(name)),
    );
    this.#clients = new Clients(seed, ports.tcp, this.#ledger, violate);
    this.#datagrams = new Datagrams(ports.udp, violate);
    const parts = {
      ...{ proxySocket, destination: ports.destination },
      ...{ clients: this.#clients, ledger: this.#ledger, machine: this.#machine, violate },
    };
    const [steadyPort = 0, ...others] = ports.published;
    const steady = new SteadyPublisher(parts, steadyPort);
    this.#parts = { system, clients: this.#clients, datagrams: this.#datagrams, steady };
    this.#publishers = others.map(
      (port, index) => new Publisher(parts, port, new Random(seed, `publisher ${index}`)),
    );
    this.#quiet = new Quiet(system, this.#machine);
    system.onStory = (story) => this.#clients.onServerStory(story);
    this.#kinds = Object.keys(FAULTS)
      .filter((kind) => system.clock.movable || !/clock|hours/.test(kind))
      .filter((kind) => system.engine !== undefined || !/dockerd/.test(kind));
  }

  /** One line that says how far it is. */
  get progress(): string {
    const { count, open } = this.#clients;
    const last = this.#ledger.entries.at(-1);
    const now = last && last.to === undefined ? last.text : 'calm';
    const parts = [`${count} connections`, `${open} open`, `${this.#ledger.entries.length} faults`, now];
    return `${this.#seconds} s: ${parts.join(', ')}`;
  }

  /** Goes on for so long (ms), or until something is wrong. */
  async go(ms: number): Promise<Outcome> {
    const looking = setInterval(() => void this.#look(), LOOK_MS);
    try {
      await Promise.race([this.#violated, this.#rounds(ms)]);
    } catch (thrown) {
      this.#violate(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
    }
    // What else is wrong shows at once, most likely.
    clearInterval(looking);
    this.#parts.steady.end();
    this.#machine.stop();
    return this.#outcome();
  }

  async #rounds(ms: number): Promise<void> {
    const until = this.#startedAt + ms;
    await this.#warmUp();
    let deck: string[] = [];
    do {
      const roundUntil = Math.min(until, performance.now() + ROUND_MS);
      this.#startLoad();
      do {
        await passing(this.#random.between(CALM_MS.least, CALM_MS.most));
        if (deck.length === 0) deck = this.#random.shuffle(this.#kinds);
        const kind = deck.pop() ?? '';
        const fault = FAULTS[kind]?.(this.#random);
        if (fault) await this.#make(kind, fault);
      } while (performance.now() < roundUntil);
      await this.#stopLoad();
      for (const wrong of await this.#quiet.check()) this.#violate(wrong);
    } while (performance.now() < until);
  }

  /** Everything is used once, so that what is there then is what is to be there later. */
  async #warmUp(): Promise<void> {
    const entry = this.#ledger.begin('start', true);
    this.#parts.steady.start();
    await untilWorks(this.#parts);
    if (this.#system.clock.movable) await this.#system.untilClockSeen(this.#machine);
    this.#ledger.end(entry);
    for (const publisher of this.#publishers) await publisher.once();
    for (const wrong of await this.#quiet.check()) this.#violate(wrong);
  }

  #startLoad(): void {
    this.#clients.start();
    this.#datagrams.start();
    for (const publisher of this.#publishers) publisher.start();
    this.#system.engine?.startLoad(this.#ledger, this.#machine, (what) => this.#violate(what));
  }

  async #stopLoad(): Promise<void> {
    this.#datagrams.stop();
    const stopped = Promise.all([
      this.#clients.stop(),
      this.#system.engine?.stopLoad(),
      ...this.#publishers.map((each) => each.stop()),
    ]);
    if (await within(FINISH_MS, stopped)) return;
    this.#violate(`connections have not ended within ${FINISH_MS / 1000} s: ${this.#clients.describeOpen()}`);
  }

  async #make(kind: string, fault: Fault): Promise<void> {
    const entry = this.#ledger.begin(fault.text, fault.harmful);
    const afterwards = await fault.act(this.#system, this.#machine);
    const reachable = this.#machine.mark();
    const worked = await within(HOPELESS_MS, untilWorks(this.#parts));
    const tookMs = this.#machine.since(reachable);
    this.#recoveries.note(kind, tookMs, performance.now() - reachable.at, fault.limitMs);
    await afterwards?.();
    // What works again is found out by the next try.
    const limitMs = fault.limitMs + TRY_MS;
    if (!worked) this.#violate(`after ${HOPELESS_MS / 1000} s it did not work again: ${fault.text}`);
    else if (tookMs > limitMs)
      this.#violate(
        `it took ${tookMs.toFixed(0)} ms, not ${limitMs}, until it worked again, what the machine was late left out: ${fault.text}`,
      );
    this.#ledger.end(entry);
  }

  async #look(): Promise<void> {
    this.#marks.push(this.#machine.mark());
    const [since] = this.#marks;
    if (this.#marks.length > LATE_LOOKS) this.#marks.shift();
    const lateMs = since ? performance.now() - since.at - this.#machine.since(since) : 0;
    const { ended } = this.#system;
    if (ended !== undefined && this.#ledger.calmSince !== undefined) this.#violate(ended);
    await this.#clients.look(lateMs, () => this.#system.openAtDestination());
  }

  get #seconds(): number {
    return Math.round((performance.now() - this.#startedAt) / 1000);
  }

  #violate(what: string, id?: number): void {
    const about = id === undefined ? [] : this.#clients.describe(id);
    const evidence = [
      ...['the last faults:', ...this.#ledger.describe()],
      ...(about.length > 0 ? ['the connection, as planned and as its ends tell:', ...about] : []),
      ...this.#system.describeLogs(),
    ];
    this.#violations.push({ what: `${this.#seconds} s: ${what}`, evidence });
    this.#onViolation();
  }

  #outcome(): Outcome {
    return {
      seed: this.#seed,
      seconds: this.#seconds,
      faults: this.#ledger.entries.length - 1,
      connections: this.#clients.count,
      bytes: this.#clients.bytes,
      outcomes: this.#clients.outcomes,
      datagrams: { sent: this.#datagrams.sent, answered: this.#datagrams.answered },
      published: this.#publishers.reduce((sum, { published }) => sum + published, 0),
      containers: this.#system.engine?.published ?? 0,
      recoveryMs: this.#recoveries.byKind,
      settledMs: this.#quiet.settledMs,
      growthMib: Math.round(this.#quiet.growthMib),
      violations: this.#violations,
    };
  }
}

/** @returns whether it has resolved within that time (ms) */
async function within(ms: number, promise: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const inTime = await Promise.race([promise.then(() => true as const), late]);
  clearTimeout(timer);
  return inTime;
}

function passing(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
