import type { ForwardRule } from '../../../host/rule/forward-rule.js';
import { parseSpec } from '../../../host/rule/forward-spec.js';
import { ruleToVpnkit } from '../../../host/rule/vpnkit-rule.js';
import type { EndOptions } from '../world/end.js';
import { Schedule, type Which } from '../world/schedule.js';
import { Violation } from '../world/world.js';
import { disagreement, keyOf, problemOfTable } from './agreement.js';
import { ControlGuest, ControlHost } from './ends.js';
import { type BindOutcome, Machine } from './machine.js';
import { Publisher, type PublisherKind } from './publisher.js';
import { User } from './user.js';

/** How long (ms) whoever asks for something waits at most, once nothing is in the way: a guest's expose waits longest. */
const LONGEST_ANSWER_MS = 30_000;

/** Nobody but the host wants these ports. */
const STATIC_SPECS = ['9001:80', '*:9002:80', 'unix:/sockets/static.sock:/run/static.sock'];

/** How long (ms) host and guest may take until they agree, once nothing is in their way. */
const LONGEST_AGREEMENT_MS = 60_000;

/** After that nothing may change any more: this long (ms) is waited. */
const REST_MS = 5_000;

/** A host that takes only so many forwards from its guest. */
const FEW_FORWARDS = 4;

/** Forwards that a guest asks its host for, and those of the host's user. */
export class ControlSchedule extends Schedule<ControlHost, ControlGuest> {
  readonly machine: Machine;
  readonly user: User;
  readonly statics: readonly ForwardRule[];
  readonly #maxForwards: number;
  #named = 0;

  constructor(seed: number, trace?: (line: string) => void) {
    super(seed, trace);
    const { world } = this;
    this.machine = new Machine(world);
    this.user = new User(world);
    this.statics = STATIC_SPECS.filter(() => world.chance(0.5)).flatMap((spec) => parseSpec(spec));
    this.#maxForwards = world.chance(0.2) ? FEW_FORWARDS : 1000;
  }

  protected override makeHost(options: EndOptions): ControlHost {
    const { machine, statics, user } = this;
    if (this.host) user.onRestart();
    const save = (kept: readonly ForwardRule[]): void => {
      user.disk = kept;
    };
    return new ControlHost({
      ...options,
      ...{ machine, statics, saved: user.disk, save, maxForwards: this.#maxForwards },
    });
  }

  protected override makeGuest(options: EndOptions): ControlGuest {
    return new ControlGuest(options);
  }

  protected override onGone(which: Which): void {
    if (which === 'host') this.machine.onKilled(this.host.process);
  }

  get publishers(): readonly Publisher[] {
    return this.guest.publishers;
  }

  override disturbAll(): void {
    super.disturbAll();
    this.#disturbAttempts();
  }

  /** The machine will do so with somebody's port. */
  hinder(outcome: BindOutcome): void {
    this.machine.outcomes.push(outcome);
    this.#disturbAttempts();
  }

  #disturbAttempts(): void {
    for (const { attempts } of this.publishers) for (const attempt of attempts) attempt.disturbed = true;
  }

  /** Whether the host may be out of reach of who asks it now. */
  get hindered(): boolean {
    const { machine, host, guest } = this;
    const slow = machine.busy || machine.outcomes.length > 0;
    return this.shaky || slow || !host.keeper.takesStreams || !guest.keeper.takesStreams;
  }

  addPublisher(): void {
    const { world, guest } = this;
    if (guest.stopping) return;
    const kind = world.pick<PublisherKind>(['lists', 'asks']);
    world.as(guest.process, () => {
      guest.publishers.push(new Publisher(world, guest.control, `${kind}/${++this.#named}`, kind));
    });
  }

  /** Somebody who publishes does something. */
  withPublisher(kind: PublisherKind | undefined, use: (publisher: Publisher) => void): void {
    const { world, guest } = this;
    const some = this.publishers.filter((publisher) => kind === undefined || publisher.kind === kind);
    if (some.length > 0 && !guest.stopping) world.as(guest.process, () => use(world.pick(some)));
  }

  removePublisher(): void {
    this.withPublisher(undefined, (publisher) => {
      publisher.close();
      this.guest.publishers = this.publishers.filter((other) => other !== publisher);
    });
  }

  withUser(use: (user: User, host: ControlHost) => void): void {
    const { world, host, user } = this;
    if (host.ready && !host.stopping) world.as(host.process, () => use(user, host));
  }

  override settle(): void {
    super.settle();
    // Whoever looks for others on a port has bound it already.
    if (this.host.stopping || this.machine.busy || this.machine.sharesPorts) return;
    const problem = problemOfTable(this);
    if (problem !== undefined) throw new Violation(problem);
  }

  // ---- the end ---------------------------------------------------------------------------------------

  finish(): void {
    this.machine.outcomes = [];
    this.calm();
    this.runToEnd(
      () => this.#asking === 0,
      () => `${this.#asking} requests are not answered within ${LONGEST_ANSWER_MS / 1000} s`,
      LONGEST_ANSWER_MS,
    );
    this.#agree('with others on its ports');
    this.#checkLists();
    this.machine.releaseByOthers(Number.POSITIVE_INFINITY);
    this.#agree('with all ports free');
    this.#endLeases();
    this.checkNothingHeld();
    this.stopBoth();
    const left = this.machine.socketsOf(this.host.process);
    if (left.length > 0) throw new Violation(`the host has stopped, and listens on ${left[0]?.port}`);
    if (this.host.descriptors > 0)
      throw new Violation(`${this.host.descriptors} descriptors are not given back`);
  }

  get #asking(): number {
    return this.publishers.reduce((sum, { asking }) => sum + asking, this.user.asking);
  }

  /** Both ends come to believe the same, and go on to. */
  #agree(how: string): void {
    const problem = (): string | undefined => (this.stands ? disagreement(this) : 'there is no channel');
    this.runToEnd(
      () => problem() === undefined,
      () => `${how}, ${problem()}`,
      LONGEST_AGREEMENT_MS,
    );
    this.pass(REST_MS);
    const after = problem();
    if (after !== undefined) throw new Violation(`${how}, what was agreed upon is no more: ${after}`);
  }

  /** What publishers are told is listened on is what is. */
  #checkLists(): void {
    for (const publisher of this.publishers) {
      const { name } = publisher;
      let listed: string[] | undefined;
      this.world.as(this.guest.process, () =>
        publisher.list((forwards) => {
          listed = forwards.map(keyOf).sort();
        }),
      );
      this.runToEnd(
        () => listed !== undefined,
        () => `${name} is not told what is listened on`,
      );
      const lease = [...this.host.leases.live].find((other) => other.publisher === name);
      const there = (lease?.claims ?? []).flatMap(({ forward }) =>
        forward ? [keyOf(ruleToVpnkit(forward.rule))] : [],
      );
      if (listed?.join() !== there.sort().join())
        throw new Violation(`${name} is told of ${listed?.join()}, and ${there.join()} is listened on`);
    }
  }

  #endLeases(): void {
    while (this.publishers.length > 0) this.removePublisher();
    const { leases } = this.host;
    this.runToEnd(
      () => leases.live.size === 0 && leases.used === 0 && leases.listed === 0,
      () => `${leases.live.size} leases of nobody are left, with ${leases.used} forwards`,
    );
    this.pass(REST_MS);
    const left = this.host.table.list().find(({ origin }) => origin === 'published');
    if (left) throw new Violation(`all publishers have gone, and ${left.id} is listened on`);
  }
}
