import { messageOf, OperationError, UsageError } from '../../protocol/errors.js';
import type { LeaseOutcome, LeaseReport, VpnkitPort } from '../../protocol/services/control.js';
import { type ForwardRule, formatRule } from '../rule/forward-rule.js';
import { matcherFromVpnkit, ruleFromVpnkit, ruleToVpnkit } from '../rule/vpnkit-rule.js';
import type { ExposePolicy } from './expose-policy.js';
import type { Claim, Failure, Forward } from './forward-table.js';

/** Forwards that all leases of a channel may want: a quarter of all ports, each of them on both families. */
export const MAX_LEASED_FORWARDS = 16_384;

/** What one forward of a lease may take as JSON: two socket paths and an annotation are far below it. */
const MAX_LEASED_FORWARD_BYTES = 1024;

/** Names of publishers stand in listings on a terminal: what a guest sends must do nothing there. */
const PUBLISHER = /^[\w.:@/ -]{1,64}$/;

/** Refusals of one lease that are logged: a guest that asks without end is not to fill the log. */
const MAX_LOGGED_REFUSALS = 100;

/** One forward that a lease wants. */
export class Wanted implements Claim {
  rule: ForwardRule;
  forward: Forward | undefined;
  failure: Failure | undefined;
  /** Why it is not even tried. */
  refusal: Failure | undefined;
  /** The user has removed it: it is neither tried nor listed until it is published anew. */
  removedByUser = false;
  withdrawn = false;
  /** Whether it is dropped when it cannot be had at once. */
  once = false;
  /** The failure that the log has last told of. */
  logged: string | undefined;
  readonly since = new Date();
  readonly #lease: Lease;

  constructor(lease: Lease, rule: ForwardRule) {
    this.#lease = lease;
    this.rule = rule;
  }

  get publisher(): string {
    return this.#lease.publisher;
  }

  get state(): LeaseOutcome['state'] {
    if (this.forward) return 'listening';
    return this.refusal ? 'refused' : 'failed';
  }

  /** Why it is not listened on. */
  get reason(): Failure {
    const otherwise = this.withdrawn ? 'it was removed meanwhile' : 'the host is stopping';
    return this.refusal ?? this.failure ?? { message: otherwise, code: undefined };
  }

  /** It stays as it is; only what it is explained with to people is what was asked for last. */
  annotate(annotation: string | undefined): void {
    const rules = [this.rule, ...(this.forward?.origin === 'published' ? [this.forward.rule] : [])];
    for (const rule of rules) {
      if (annotation === undefined) delete rule.annotation;
      else rule.annotation = annotation;
    }
  }

  /** Whether it has been found out that it cannot be listened on, at least for now. */
  get missing(): boolean {
    return !this.forward && (this.refusal ?? this.failure) !== undefined;
  }

  /** Whether it is to be listened on as soon as that is possible. */
  get pending(): boolean {
    return !this.forward && !this.refusal && !this.withdrawn && !this.once;
  }
}

/** What a lease needs of those who keep all of them. */
export interface LeaseKeeper {
  readonly policy: ExposePolicy;
  /** How many more forwards the channel's leases may want. */
  readonly room: number;
  readonly maxForwards: number;
  /** As ForwardTable.claim; what has changed is logged, and what has failed is tried again later. */
  claim(claims: readonly Wanted[], released: readonly Wanted[]): Promise<void>;
  logRefusal(wanted: Wanted): void;
  ended(lease: Lease): void;
}

/** The forwards that one publisher in the guest wants. Its methods may be called while others are under way. */
export class Lease {
  /** Who asks, for people. */
  publisher = 'the guest';
  readonly #keeper: LeaseKeeper;
  /** By formatRule of what was asked for. */
  #wanted = new Map<string, Wanted>();
  #exposes = 0;
  #refusals = 0;
  #ended = false;

  constructor(keeper: LeaseKeeper) {
    this.#keeper = keeper;
  }

  get wanted(): Wanted[] {
    return [...this.#wanted.values()];
  }

  get size(): number {
    return this.#wanted.size;
  }

  /**
   * Makes the lease's forwards those of a LeaseRequest: `body` as it was received.
   * @throws UsageError when it is none
   */
  async set(body: unknown): Promise<LeaseReport> {
    const { publisher, forwards } = readRequest(body);
    this.#refuseWhenEnded();
    this.publisher = publisher;
    const before = this.#wanted;
    const room = this.#keeper.room + before.size;
    const wanted = new Map<string, Wanted>();
    const outcomes = forwards.map((forward) => this.#want(forward, before, wanted, room));
    this.#wanted = wanted;
    const released = [...before].filter(([key]) => !wanted.has(key)).map(([, each]) => each);
    for (const each of released) each.withdrawn = true;
    await this.#keeper.claim(
      this.wanted.filter(({ pending }) => pending),
      released,
    );
    return { forwards: outcomes.map(describeOutcome) };
  }

  /**
   * Adds one forward, a VpnkitPort as it was received, and waits until it is listened on. One that cannot be
   * is not kept.
   * @returns it, with the port that was chosen where none was given
   * @throws UsageError, PolicyError, or OperationError with the reason
   */
  async expose(body: unknown): Promise<VpnkitPort> {
    this.#refuseWhenEnded();
    const rule = readForward(body);
    const refusal = this.#keeper.policy.refusalOf(rule);
    if (refusal) throw refusal;
    const chooses = rule.proto !== 'unix' && rule.hostPort === 0;
    // A free port is another one each time.
    const key = chooses ? `expose ${this.#exposes++}` : formatRule(rule);
    const before = this.#wanted.get(key);
    if (!before && this.#keeper.room <= 0) throw new OperationError(this.#full());
    const known = before?.refusal ? undefined : before;
    const asked = known ?? new Wanted(this, rule);
    if (!known) asked.once = true;
    this.#wanted.set(key, asked);
    await this.#keeper.claim([asked], []);
    if (asked.forward) {
      asked.once = false;
      if (chooses) this.#rename(key, asked, asked.forward.rule);
      return ruleToVpnkit(asked.forward.rule);
    }
    if (asked.once) this.#drop([[key, asked]]);
    throw Object.assign(new OperationError(asked.reason.message), { code: asked.reason.code });
  }

  /**
   * Removes the forwards that are meant by `body`, a VpnkitPort, as matcherFromVpnkit says. Resolves when they
   * are no longer listened on.
   * @throws UsageError
   */
  async unexpose(body: unknown): Promise<void> {
    const matches = matcherFromVpnkit(body);
    const meant = [...this.#wanted].filter(([, { rule, forward }]) => matches(forward?.rule ?? rule));
    await this.#keeper.claim([], this.#drop(meant));
  }

  /** What is listened on. */
  list(): VpnkitPort[] {
    return this.wanted.flatMap(({ forward }) => (forward ? [ruleToVpnkit(forward.rule)] : []));
  }

  /** The publisher has gone: its forwards go, too. */
  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const dropped = this.#drop([...this.#wanted]);
    this.#keeper.ended(this);
    await this.#keeper.claim([], dropped);
  }

  #want(
    forward: unknown,
    before: ReadonlyMap<string, Wanted>,
    wanted: Map<string, Wanted>,
    room: number,
  ): Wanted | LeaseOutcome {
    let rule: ForwardRule;
    try {
      rule = readForward(forward);
    } catch (thrown) {
      return { state: 'refused', message: messageOf(thrown) };
    }
    const key = formatRule(rule);
    const known = wanted.get(key) ?? before.get(key);
    if (!known && wanted.size >= room) return { state: 'refused', message: this.#full(), code: 'EMFILE' };
    const one = known ?? this.#make(rule);
    one.annotate(rule.annotation);
    one.once = false;
    wanted.set(key, one);
    return one;
  }

  #make(rule: ForwardRule): Wanted {
    const wanted = new Wanted(this, rule);
    const refusal = this.#keeper.policy.refusalOf(rule);
    if (refusal) {
      wanted.refusal = { message: refusal.message, code: refusal.code };
      if (this.#refusals++ < MAX_LOGGED_REFUSALS) this.#keeper.logRefusal(wanted);
    }
    return wanted;
  }

  #drop(entries: [string, Wanted][]): Wanted[] {
    return entries.map(([key, wanted]) => {
      wanted.withdrawn = true;
      // Meanwhile the same may have been asked for anew.
      if (this.#wanted.get(key) === wanted) this.#wanted.delete(key);
      return wanted;
    });
  }

  /** From now on it is the forward with the port that was chosen, also when it is asked for by that. */
  #rename(key: string, wanted: Wanted, rule: ForwardRule): void {
    wanted.rule = rule;
    if (this.#wanted.get(key) !== wanted) return;
    this.#wanted.delete(key);
    this.#wanted.set(formatRule(rule), wanted);
  }

  #full(): string {
    return `the host takes at most ${this.#keeper.maxForwards} forwards from one guest`;
  }

  #refuseWhenEnded(): void {
    if (this.#ended) throw new OperationError('this lease has ended');
  }
}

function describeOutcome(outcome: Wanted | LeaseOutcome): LeaseOutcome {
  if (!(outcome instanceof Wanted)) return outcome;
  const { state, rule, forward } = outcome;
  if (forward) {
    const chosen = rule.proto !== 'unix' && rule.hostPort === 0 && forward.rule.proto !== 'unix';
    return chosen ? { state, out_port: forward.rule.hostPort } : { state };
  }
  const { message, code } = outcome.reason;
  return code === undefined ? { state, message } : { state, message, code };
}

function readRequest(body: unknown): { publisher: string; forwards: unknown[] } {
  const { publisher, forwards } = (body ?? {}) as { publisher?: unknown; forwards?: unknown };
  if (!Array.isArray(forwards))
    throw new UsageError('the body must be a JSON object with "publisher" and "forwards"');
  if (forwards.length > MAX_LEASED_FORWARDS)
    throw new UsageError(`${forwards.length} forwards, at most ${MAX_LEASED_FORWARDS} are taken`);
  if (typeof publisher !== 'string' || !PUBLISHER.test(publisher))
    throw new UsageError(
      '"publisher" must be a name of 1 to 64 letters, digits, spaces or any of . : @ / _ -',
    );
  return { publisher, forwards };
}

/** Looks at the size first: what is refused is quoted in messages, and what is taken is kept. */
function readForward(body: unknown): ForwardRule {
  const length = Buffer.byteLength(JSON.stringify(body) ?? '');
  if (length > MAX_LEASED_FORWARD_BYTES)
    throw new UsageError(`a forward of ${length} bytes, at most ${MAX_LEASED_FORWARD_BYTES} are taken`);
  const rule = ruleFromVpnkit(body);
  const controls = Object.values(body as object).some((value) => /\p{Cc}/u.test(String(value)));
  if (controls) throw new UsageError('a forward cannot have control characters in it');
  return rule;
}
