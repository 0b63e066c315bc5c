import { OperationError } from '../../protocol/errors.js';
import type { ForwardMatcher } from '../rule/forward-matcher.js';
import { type ForwardRule, formatRule, type Note } from '../rule/forward-rule.js';
import { Attempts } from './attempts.js';
import type { Bound } from './bound.js';
import { Claim, type Holder, RUNTIME } from './claim.js';
import type { Forward } from './forward.js';
import { type ForwardObserver, ForwardObservers } from './forward-observer.js';
import { HostEnds } from './host-ends.js';
import { ListenFailure } from './listen-failure.js';
import { Listening, type ListeningOptions } from './listening.js';
import { inSlices, nextTurn, Turns } from './turns.js';

export interface ForwardTableOptions extends ListeningOptions {
  /** Told after each change of what the user has exposed, with how to ask for it. What it returns is waited for. */
  onChange?(kept: () => readonly ForwardRule[]): void | Promise<void>;
  /** As in AttemptsOptions. */
  retryMs?: number;
}

/** What has become of a request to remove forwards. */
export interface Removal {
  /** What was listened on, and what was only wanted. */
  removed: (Forward | Claim)[];
  /** Those that meant nothing which is there. */
  unmatched: ForwardMatcher[];
}

/** Of a long list, so many are bound before the process does what else there is to do. */
const RULES_BETWEEN_EVENTS = 32;

/**
 * The forwards that somebody wants, and those that are listened on. Every wish is a claim, and all that becomes
 * of it is decided here: it is listened on, or has failed and is tried again until it can be, or is refused.
 * Changes happen one after the other; the user's come before what a guest asks for.
 */
export class ForwardTable {
  readonly #options: ForwardTableOptions;
  readonly #observers = new ForwardObservers();
  readonly #listening: Listening;
  readonly #attempts: Attempts;
  readonly #turns = new Turns();
  /** All that are wanted. */
  readonly #claims = new HostEnds<Claim>();
  /** The user's: by origin and formatRule. */
  readonly #own = new Map<string, Claim>();
  #closed = false;

  constructor(options: ForwardTableOptions) {
    this.#options = options;
    this.#listening = new Listening(options, this.#observers);
    this.#attempts = new Attempts({
      listening: this.#listening,
      turns: this.#turns,
      claims: this.#claims,
      logger: options.logger,
      observer: this.#observers,
      retryMs: options.retryMs,
    });
  }

  // ---- what the user wants ---------------------------------------------------------------------------

  /**
   * Listens for all of `rules`, or for none. A rule that is exposed already is left as it is, and kept for
   * this holder too.
   * @returns the forward of each rule, in the same order
   * @throws OperationError that names the address and, where the OS tells, who holds it
   */
  async expose(rules: readonly ForwardRule[], holder: Holder = RUNTIME): Promise<Forward[]> {
    try {
      const forwards = await this.#turns.take(() => this.#expose(rules, holder), true);
      if (holder === RUNTIME) await this.#options.onChange?.(() => this.kept());
      return forwards;
    } catch (thrown) {
      if (!(thrown instanceof ListenFailure)) throw thrown;
      const { code } = thrown;
      throw Object.assign(new OperationError(await this.#listening.explain(thrown, true)), { code });
    }
  }

  /** Listens again for what the user had exposed, each by itself: one that fails now is tried until it can be had. */
  async restore(rules: readonly ForwardRule[]): Promise<void> {
    const claims = rules.map((rule) => this.#own.get(ownKey(RUNTIME, rule)) ?? this.#makeOwn(rule, RUNTIME));
    await this.#attempts.try(claims, true);
  }

  /** What the user has exposed, listened on or not, to be kept over a restart. */
  kept(): ForwardRule[] {
    return [...this.#own.values()].filter(({ holder }) => holder === RUNTIME).map(({ rule }) => rule);
  }

  /**
   * Removes the forwards that are meant, whoever wants them, listened on or not; their connections go on, but
   * UDP flows end. Publishers get them back when they have given them up and then ask again.
   */
  async unexpose(matchers: readonly ForwardMatcher[]): Promise<Removal> {
    const removal = await this.#turns.take(() => this.#unexpose(matchers), true);
    if (removal.removed.length > 0) await this.#options.onChange?.(() => this.kept());
    return removal;
  }

  // ---- what guests want ------------------------------------------------------------------------------

  /**
   * Lets go of some claims and tries to listen for others, each by itself.
   * @param released from now on nobody wants them; they must not be claimed again
   * @param persistent whether one that fails is tried again; else it is not, unless it was already
   */
  async claim(claims: readonly Claim[], released: readonly Claim[], persistent = true): Promise<void> {
    const bound = released.flatMap((claim) => this.#withdraw(claim));
    for (const claim of claims) {
      this.#claims.set(claim, claim.rule);
      if (claim.state === 'refused') this.#observers.onFailed(claim);
    }
    for (const some of inSlices(bound)) await this.#turns.take(() => this.#release(some), false);
    await this.#attempts.try(claims, persistent);
  }

  /** The claims of one holder that are meant. */
  find(matcher: ForwardMatcher, holder: Holder): Claim[] {
    return this.#meant(matcher).filter((claim) => claim.holder === holder);
  }

  /** People are shown this note from now on. */
  annotate(claim: Claim, note: Note): void {
    claim.annotate(note);
  }

  // ---- what is there ---------------------------------------------------------------------------------

  /** How many are listened on. */
  get size(): number {
    return this.#listening.size;
  }

  /** What is listened on, in the order in which that began. */
  list(): Forward[] {
    return this.#listening.list();
  }

  /** What is wanted and not listened on, once for each rule; without what the user has removed. */
  missing(): Claim[] {
    const byRule = new Map<string, Claim>();
    for (const claim of this.#claims.values()) {
      if (!claim.missing) continue;
      const key = formatRule(claim.asked);
      if (!byRule.has(key)) byRule.set(key, claim);
    }
    return [...byRule.values()];
  }

  /** What is wanted at one of the host's ends, as hostEndKey writes it, listened on or not; once for each rule. */
  at(end: string): ForwardRule[] {
    const shown = [...this.#claims.at(end)].filter(({ forward, missing }) => forward || missing);
    return [...new Map(shown.map(({ rule }) => [formatRule(rule), rule])).values()];
  }

  /** From now on `observer` hears of what becomes of forwards. @returns ends that */
  observe(observer: ForwardObserver): () => void {
    return this.#observers.add(observer);
  }

  /** Has further clients of all forwards wait in the OS's queues, or lets them in again. */
  setAccepting(accepting: boolean): void {
    this.#listening.setAccepting(accepting);
  }

  /** Stops listening for good; connections go on, but UDP flows end. Resolves when every address is free. */
  close(): Promise<void> {
    return this.#turns.take(async () => {
      this.#closed = true;
      this.#attempts.close();
      await this.#listening.closeAll();
    }, true);
  }

  // ---- in a turn -------------------------------------------------------------------------------------

  async #expose(rules: readonly ForwardRule[], holder: Holder): Promise<Forward[]> {
    if (this.#closed) throw new OperationError('the host is stopping and takes no more forwards');
    const opened = new Map<string, Bound>();
    const bounds: Bound[] = [];
    try {
      const look = await this.#listening.look(rules, true);
      for (const [index, rule] of rules.entries()) {
        if (index % RULES_BETWEEN_EVENTS === RULES_BETWEEN_EVENTS - 1) await nextTurn();
        const known = this.#listening.find(rule) ?? opened.get(formatRule(rule));
        const bound = known ?? (await this.#listening.open(rule, look));
        if (!known) opened.set(formatRule(bound.forward.rule), bound);
        bounds.push(bound);
      }
      const [failure] = (await this.#listening.confirm([...opened.values()])).values();
      if (failure) throw failure;
    } catch (thrown) {
      await this.#listening.close([...opened.values()]);
      throw thrown;
    }
    const waiters = new Map<Bound, string>();
    for (const bound of bounds) {
      const { rule } = bound.forward;
      const claim = this.#own.get(ownKey(holder, rule)) ?? this.#makeOwn(rule, holder);
      const waited = this.#attempts.grant(claim, bound);
      if (waited !== undefined) waiters.set(bound, waited);
    }
    for (const bound of opened.values()) this.#listening.start(bound, waiters.get(bound));
    return bounds.map(({ forward }) => forward);
  }

  async #unexpose(matchers: readonly ForwardMatcher[]): Promise<Removal> {
    const meant = new Set<Claim>();
    const unmatched = matchers.filter((matcher) => {
      const claims = this.#meant(matcher).filter(({ hidden }) => !hidden);
      for (const claim of claims) meant.add(claim);
      return claims.length === 0;
    });
    const removed = new Map<string, Forward | Claim>();
    const bounds = new Set<Bound>();
    for (const claim of meant) {
      const bound = this.#boundOf(claim);
      if (bound) bounds.add(bound);
      const key = formatRule(claim.rule);
      if (bound || !removed.has(key)) removed.set(key, bound?.forward ?? claim);
      this.#removeForUser(claim);
    }
    await this.#closeBound([...bounds]);
    return { removed: [...removed.values()], unmatched };
  }

  async #release(pairs: readonly [Claim, Bound][]): Promise<void> {
    const orphans = pairs.flatMap(([claim, bound]) =>
      bound.claims.delete(claim) && bound.claims.size === 0 ? [bound] : [],
    );
    await this.#closeBound(orphans);
  }

  /** What these were in the way of is tried at once. */
  async #closeBound(bounds: readonly Bound[]): Promise<void> {
    await this.#listening.close(bounds);
    for (const { forward } of bounds) this.#attempts.retry(this.#claims.near(forward.rule));
  }

  // ---- claims ----------------------------------------------------------------------------------------

  #makeOwn(rule: ForwardRule, holder: Holder): Claim {
    const claim = new Claim(rule, holder);
    this.#own.set(ownKey(holder, rule), claim);
    this.#claims.set(claim, rule);
    return claim;
  }

  #meant({ hostEnds, matches }: ForwardMatcher): Claim[] {
    return hostEnds.flatMap((end) => [...this.#claims.at(end)]).filter((claim) => matches(claim.rule));
  }

  #boundOf(claim: Claim): Bound | undefined {
    return claim.forward && this.#listening.find(claim.forward.rule);
  }

  /** @returns what it was listened on by */
  #withdraw(claim: Claim): [Claim, Bound][] {
    const bound = this.#boundOf(claim);
    this.#tellGone(claim);
    claim.withdraw();
    this.#attempts.forget(claim);
    this.#claims.delete(claim);
    return bound ? [[claim, bound]] : [];
  }

  #removeForUser(claim: Claim): void {
    this.#tellGone(claim);
    this.#attempts.forget(claim);
    if (claim.holder.origin === 'published') {
      claim.removedByUser();
      return;
    }
    this.#own.delete(ownKey(claim.holder, claim.rule));
    this.#claims.delete(claim);
    claim.withdraw();
  }

  /** What is listened on is told of when that ends. */
  #tellGone(claim: Claim): void {
    if (claim.missing) this.#observers.onNoLonger(claim);
  }
}

function ownKey({ origin }: Holder, rule: ForwardRule): string {
  return `${origin} ${formatRule(rule)}`;
}
