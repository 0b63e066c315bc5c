import net from 'node:net';
import { Signal } from '../protocol/fixtures/signal.js';
import type { OpenConnection } from './destination.js';
import type { Ledger } from './ledger.js';
import { Party, type Story } from './party.js';
import { encodePlan, type Plan, planOf, probePlan } from './plan.js';

/** How many connections of the load there are at any time. */
const SLOTS = 20;

/** After a connection that could not be made, a slot waits so long (ms). */
const PAUSE_MS = 50;

/** At neither end anything may stand still so long (ms) when there is no fault: twice what a held client waits for its guest. */
const STUCK_MS = 10_000;

/** How many connections' stories are kept for a failure to show. */
const STORIES = 2_000;

/** Ids of probes and others that are not of the load. */
const FIRST_EXTRA_ID = 1_000_000;

/** The clients of a run, and what both ends of each connection told. */
export class Clients {
  readonly #seed: number;
  readonly #port: number;
  readonly #ledger: Ledger;
  readonly #violate: (what: string, id?: number) => void;
  readonly #open = new Set<Party>();
  readonly #stories = new Map<number, Story[]>();
  readonly #signal = new Signal();
  #slots = 0;
  #running = false;
  #next = 0;
  #nextExtra = FIRST_EXTRA_ID;
  /** How the clients' connections ended, for the summary: `whole`, `ECONNRESET` … */
  readonly outcomes: Record<string, number> = {};
  bytes = 0;

  /** @param port of the host's forward @param violate is told what must not be */
  constructor(seed: number, port: number, ledger: Ledger, violate: (what: string, id?: number) => void) {
    this.#seed = seed;
    this.#port = port;
    this.#ledger = ledger;
    this.#violate = violate;
  }

  get open(): number {
    return this.#open.size;
  }

  /** How many connections of the load there have been. */
  get count(): number {
    return this.#next;
  }

  start(): void {
    this.#running = true;
    while (this.#slots < SLOTS) {
      this.#slots++;
      void this.#slot();
    }
  }

  /** No more connections. Resolves when the last one has ended. */
  async stop(): Promise<void> {
    this.#running = false;
    await this.#signal.until(() => this.#slots === 0 && this.#open.size === 0);
  }

  /** Makes one small exchange. @returns whether it was whole */
  async probe(port = this.#port): Promise<boolean> {
    const { outcome } = await this.exchange(probePlan(this.#nextExtra++), port);
    return outcome === 'whole';
  }

  exchange(plan: Plan, port = this.#port): Promise<Story> {
    return new Promise((resolve) => {
      const socket = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
      const party = new Party(socket, plan, 'client', (story) => {
        this.#open.delete(party);
        this.#judge(story, party);
        this.#signal.wake();
        resolve(story);
      });
      this.#open.add(party);
      socket.once('connect', () => {
        socket.write(encodePlan(plan));
        party.start();
      });
    });
  }

  /** What the destination has told. */
  onServerStory(story: Story): void {
    this.#keep(story);
    const { violation, id, outcome, ms } = story;
    if (violation !== undefined) this.#violate(`server: ${violation}`, id);
    // Others come and go as they like.
    const ofLoad = id >= 0 && id < FIRST_EXTRA_ID;
    if (!ofLoad || planOf(this.#seed, id).resetBy !== 'none') return;
    if (outcome === 'whole' || this.#ledger.harmedSince(performance.now() - ms)) return;
    this.#violate(`server: it failed (${outcome}) though there was no fault`, id);
  }

  /**
   * Finds what stands still.
   * @param lateMs how late the machine has been within that time
   * @param openThere asks the destination
   */
  async look(lateMs: number, openThere: () => Promise<readonly OpenConnection[]>): Promise<void> {
    const { calmSince } = this.#ledger;
    const limitMs = STUCK_MS + lateMs;
    const before = performance.now() - limitMs;
    if (calmSince === undefined || calmSince > before) return;
    const still = [...this.#open].filter(({ progressAt }) => progressAt < before);
    if (still.length === 0) return;
    // What a client has sent may be long on its way where the destination rests between reads.
    const moving = new Set((await openThere()).filter(({ idleMs }) => idleMs < limitMs).map(({ id }) => id));
    for (const { progressAt, plan } of [...this.#open].filter((party) => still.includes(party)))
      if (progressAt < before && !moving.has(plan.id))
        this.#violate(`nothing has moved for ${limitMs.toFixed(0)} ms`, plan.id);
  }

  /** What is known of a connection on both ends. */
  describe(id: number): string[] {
    const open = [...this.#open].filter(({ plan }) => plan.id === id).map((party) => party.story());
    const plan = id >= FIRST_EXTRA_ID ? probePlan(id) : planOf(this.#seed, id);
    return [plan, ...(this.#stories.get(id) ?? []), ...open].map((each) => JSON.stringify(each));
  }

  /** Those that are open now. */
  describeOpen(): string[] {
    return [...this.#open].map((party) => JSON.stringify(party.story()));
  }

  async #slot(): Promise<void> {
    while (this.#running) {
      const { outcome } = await this.exchange(planOf(this.#seed, this.#next++));
      if (outcome === 'ECONNREFUSED') await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    this.#slots--;
    this.#signal.wake();
  }

  #judge(story: Story, { plan, openedAt }: Party): void {
    this.#keep(story);
    const { outcome, violation, id, sent, received } = story;
    this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1;
    this.bytes += sent + received;
    if (violation !== undefined) this.#violate(`client: ${violation}`, id);
    const planned = outcome === 'whole' || outcome === 'reset by us' || plan.resetBy === 'server';
    if (!planned && !this.#ledger.harmedSince(openedAt))
      this.#violate(`client: it failed (${outcome}) though there was no fault`, id);
  }

  #keep(story: Story): void {
    const stories = this.#stories.get(story.id);
    if (stories) stories.push(story);
    else this.#stories.set(story.id, [story]);
    if (this.#stories.size <= STORIES) return;
    for (const id of this.#stories.keys()) {
      this.#stories.delete(id);
      break;
    }
  }
}
