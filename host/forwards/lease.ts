import { formatCount } from '../../protocol/count.js';
import { messageOf, OperationError } from '../../protocol/errors.js';
import type { LeaseOutcome, LeaseReport, VpnkitPort } from '../../protocol/services/control.js';
import { type ForwardMatcher, matcherFromVpnkit } from '../rule/forward-matcher.js';
import { type ForwardRule, formatRule, type Note } from '../rule/forward-rule.js';
import { ruleToVpnkit } from '../rule/vpnkit-rule.js';
import { Claim, type Failure, type Holder } from './claim.js';
import type { ExposePolicy } from './expose-policy.js';
import { describeOutcome, readLeasedForward, readLeaseRequest } from './lease-request.js';

/** What a lease needs of those who keep all of them. */
export interface LeaseKeeper {
  readonly policy: ExposePolicy;
  /** How many forwards the channel's leases want. */
  used: number;
  /** How many they may want. */
  readonly maxForwards: number;
  /** Why there cannot be more. */
  readonly full: Failure;
  /** As ForwardTable.claim. */
  claim(claims: readonly Claim[], released: readonly Claim[], persistent?: boolean): Promise<void>;
  /** As ForwardTable.find. */
  find(matcher: ForwardMatcher, holder: Holder): Claim[];
  /** As ForwardTable.annotate. */
  annotate(claim: Claim, note: Note): void;
  /** How many forwards beyond that are listed, and how many may be. */
  listed: number;
  readonly maxListed: number;
  logRefusal(claim: Claim): void;
  ended(lease: Lease): void;
}

/** The forwards that one publisher in the guest wants. Its methods may be called while others are under way. */
export class Lease implements Holder {
  readonly origin = 'published';
  /** Who asks, for people. */
  publisher = 'the guest';
  readonly #keeper: LeaseKeeper;
  /** By the name that a request has for it: formatRule of what was asked for, or of the port that was chosen. */
  #claims = new Map<string, Claim>();
  #names = new Map<Claim, string>();
  /** Those that are wanted only if they can be had at once. */
  readonly #strict = new Set<Claim>();
  /** Beyond the number that the host takes: refused, and listed as far as there is room for it. */
  #beyond = new Set<Claim>();
  /** What the keeper has counted of this lease. */
  #counted = { used: 0, listed: 0 };
  #exposes = 0;
  #ended = false;

  constructor(keeper: LeaseKeeper) {
    this.#keeper = keeper;
  }

  get claims(): Claim[] {
    return [...this.#claims.values(), ...this.#beyond];
  }

  get size(): number {
    return this.#claims.size;
  }

  /**
   * Makes the lease's forwards those of a LeaseRequest: `body` as it was received.
   * @throws UsageError when it is none
   */
  async set(body: unknown): Promise<LeaseReport> {
    const { publisher, forwards } = readLeaseRequest(body);
    this.#refuseWhenEnded();
    this.publisher = publisher;
    const before = this.#claims;
    const room = this.#keeper.maxForwards - this.#keeper.used + before.size;
    const released = [...this.#beyond];
    const claims = new Map<string, Claim>();
    const beyond: ForwardRule[] = [];
    const outcomes = forwards.map((forward) => this.#want(forward, claims, room, beyond));
    for (const [name, claim] of before) if (!claims.has(name)) released.push(claim);
    this.#claims = claims;
    this.#names = new Map([...claims].map(([name, claim]) => [claim, name]));
    for (const claim of [...claims.values(), ...released]) this.#strict.delete(claim);
    this.#beyond = this.#listBeyond(beyond);
    this.#count();
    await this.#keeper.claim(this.claims, released);
    return { forwards: outcomes.map(describeOutcome) };
  }

  /**
   * Adds one forward, a VpnkitPort as it was received, and waits until it is listened on. One that cannot be
   * is not kept, unless the lease had it before.
   * @returns it, with the port that was chosen where none was given
   * @throws UsageError, PolicyError, or OperationError with the reason
   */
  async expose(body: unknown): Promise<VpnkitPort> {
    this.#refuseWhenEnded();
    const rule = readLeasedForward(body);
    const refusal = this.#keeper.policy.refusalOf(rule);
    if (refusal) throw refusal;
    const chooses = rule.proto !== 'unix' && rule.hostPort === 0;
    // A free port is another one each time.
    const name = chooses ? `expose ${this.#exposes++}` : formatRule(rule);
    const before = this.#claims.get(name);
    const { full, maxForwards, used } = this.#keeper;
    if (!before && used >= maxForwards) throw failed(full);
    const known = before?.state === 'refused' ? undefined : before;
    const had = before !== undefined && !this.#strict.has(before);
    const claim = known ?? this.#add(name, new Claim(rule, this), !had);
    await this.#keeper.claim([claim], before && !known ? [before] : [], had);
    if (claim.forward) {
      this.#strict.delete(claim);
      if (chooses) this.#rename(claim, formatRule(claim.rule));
      return ruleToVpnkit(claim.rule);
    }
    if (this.#strict.has(claim)) await this.#keeper.claim([], this.#drop([claim]));
    throw failed(claim.reason);
  }

  /**
   * Removes the forwards that are meant by `body`, a VpnkitPort, as isMeant says. Resolves when they are no
   * longer listened on.
   * @throws UsageError
   */
  async unexpose(body: unknown): Promise<void> {
    const meant = this.#keeper.find(matcherFromVpnkit(body), this);
    await this.#keeper.claim([], this.#drop(meant));
  }

  /** What is listened on. */
  list(): VpnkitPort[] {
    return this.claims.flatMap(({ forward }) => (forward ? [ruleToVpnkit(forward.rule)] : []));
  }

  /** The publisher has gone: its forwards go, too. */
  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const dropped = this.#drop(this.claims);
    this.#keeper.ended(this);
    await this.#keeper.claim([], dropped);
  }

  #want(
    forward: unknown,
    claims: Map<string, Claim>,
    room: number,
    beyond: ForwardRule[],
  ): Claim | LeaseOutcome {
    let rule: ForwardRule;
    try {
      rule = readLeasedForward(forward);
    } catch (thrown) {
      return { state: 'refused', message: messageOf(thrown) };
    }
    const name = formatRule(rule);
    const known = claims.get(name) ?? this.#claims.get(name);
    if (!known && claims.size >= room) {
      beyond.push(rule);
      return { state: 'refused', ...this.#keeper.full, code: 'EMFILE' };
    }
    const claim = known ?? this.#make(rule);
    this.#keeper.annotate(claim, rule);
    claims.set(name, claim);
    return claim;
  }

  #make(rule: ForwardRule): Claim {
    const refusal = this.#keeper.policy.refusalOf(rule);
    const claim = new Claim(rule, this, refusal && { message: refusal.message, code: refusal.code });
    if (refusal) this.#keeper.logRefusal(claim);
    return claim;
  }

  /** The first of those that are too many, so that people see what they miss. */
  #listBeyond(rules: readonly ForwardRule[]): Set<Claim> {
    const { full, listed, maxListed } = this.#keeper;
    const some = rules.slice(0, Math.max(0, maxListed - listed + this.#beyond.size));
    const { message, code } = full;
    const all = formatCount(rules.length, 'forward');
    const refusal = { message: `${message}; ${all} of ${this.publisher} would be too many`, code };
    const claims = some.map((rule) => new Claim(rule, this, refusal));
    for (const claim of claims.slice(0, 1)) this.#keeper.logRefusal(claim);
    return new Set(claims);
  }

  #add(name: string, claim: Claim, strict: boolean): Claim {
    const before = this.#claims.get(name);
    if (before) this.#names.delete(before);
    this.#claims.set(name, claim);
    this.#names.set(claim, name);
    if (strict) this.#strict.add(claim);
    this.#count();
    return claim;
  }

  #drop(claims: readonly Claim[]): readonly Claim[] {
    for (const claim of claims) {
      const name = this.#names.get(claim);
      if (name !== undefined) this.#claims.delete(name);
      this.#names.delete(claim);
      this.#strict.delete(claim);
      this.#beyond.delete(claim);
    }
    this.#count();
    return claims;
  }

  /** From now on it is also known by the port that was chosen, unless it has been given up meanwhile. */
  #rename(claim: Claim, name: string): void {
    const before = this.#names.get(claim);
    if (before === undefined || this.#claims.has(name)) return;
    this.#claims.delete(before);
    this.#claims.set(name, claim);
    this.#names.set(claim, name);
  }

  #count(): void {
    const counted = { used: this.#claims.size, listed: this.#beyond.size };
    this.#keeper.used += counted.used - this.#counted.used;
    this.#keeper.listed += counted.listed - this.#counted.listed;
    this.#counted = counted;
  }

  #refuseWhenEnded(): void {
    if (this.#ended) throw new OperationError('this lease has ended');
  }
}

function failed({ message, code }: Failure): OperationError {
  return Object.assign(new OperationError(message), { code });
}
