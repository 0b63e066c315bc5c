import { setImmediate } from 'node:timers/promises';
import { errnoOf, messageOf, OperationError } from '../../protocol/errors.js';
import type { Logger } from '../../protocol/program/logger.js';
import type { RawSocket } from '../../protocol/socket/raw-socket.js';
import { formatDestination } from '../../protocol/wire/destination.js';
import { describeBindFailure } from '../listen/bind-failure.js';
import { BindError } from '../listen/bind-port.js';
import { Listener } from '../listen/listener.js';
import { UdpListener } from '../listen/udp-listener.js';
import { addressesOverlap, type ForwardRule, formatHostEnd, formatRule } from '../rule/forward-rule.js';

/** What happened on a forward since it was exposed; whoever serves its clients keeps it up to date. */
export interface ForwardCounters {
  /** Clients accepted. */
  connections: number;
  /** Clients being served. */
  active: number;
  /** Clients reset because the guest could not reach the destination. */
  refused: number;
  /** Clients reset for any other reason. */
  failed: number;
  /** Clients whose server ended first, in good order, without having sent a byte. */
  empty: number;
  /** Datagrams that were not carried to their end; UDP only. */
  dropped: number;
  bytesToGuest: number;
  bytesToHost: number;
}

/** A forward that is listened on. */
export interface Forward {
  /** Stable while it is exposed, for people and logs: `tcp localhost:8080`. */
  readonly id: string;
  /** With the port that was chosen, where 0 was asked for. */
  readonly rule: ForwardRule;
  readonly origin: ForwardOrigin;
  /** Who in the guest wants it, if somebody does: `docker`, say. */
  readonly publisher: string | undefined;
  readonly createdAt: Date;
  /** What is bound: `127.0.0.1:8080`, `[::1]:8080` or a path. */
  readonly addresses: readonly string[];
  readonly counters: ForwardCounters;
}

/** Static ones come from the configuration, runtime ones from the user; else it is the guest that wants it. */
export type ForwardOrigin = 'static' | 'runtime' | 'published';

/** One forward that a publisher in the guest wants, and what has become of it. */
export interface Claim {
  readonly rule: ForwardRule;
  readonly publisher: string;
  /** While it is listened on. */
  forward: Forward | undefined;
  /** Why it is not, since the last attempt. */
  failure: Failure | undefined;
  /** It is not wanted any more: nothing need be bound for it. */
  withdrawn: boolean;
}

/** Why a forward is not listened on. */
export interface Failure {
  message: string;
  /** The errno, where there is one. */
  code: string | undefined;
}

/** Who keeps a forward: it goes when the last one lets go. */
type Holder = 'static' | 'runtime' | Claim;

export interface ForwardTableOptions {
  /** Gets each client: paused, so set its handler and call resume(). */
  onClient(socket: RawSocket, forward: Forward): void;
  /** Gets each UDP forward that is listened on: call start() of its listener, or its datagrams are dropped. */
  onUdpForward?(listener: UdpListener, forward: Forward): void;
  /** Told after each change, with the forwards that the user has exposed. What it returns is waited for. */
  onChange?(runtimeRules: ForwardRule[]): void | Promise<void>;
  /** Told when forwards have gone: what they were in the way of may succeed now. */
  onRemoved?(): void;
  logger: Logger;
}

interface Entry {
  readonly forward: Forward;
  readonly listener: Listener | UdpListener;
  readonly holders: Set<Holder>;
}

/** Claims that are bound in one go, before everything else that the process has to do gets its turn. */
const CLAIMS_AT_ONCE = 32;

/** Failures of one batch whose cause is looked for: asking the OS who has a port takes milliseconds each time. */
const CAUSES_PER_BATCH = 16;

/** The forwards of a host, and their listeners. Changes happen one after the other. */
export class ForwardTable {
  readonly #options: ForwardTableOptions;
  /** By formatRule. */
  readonly #entries = new Map<string, Entry>();
  #lastChange: Promise<unknown> = Promise.resolve();
  #closed = false;
  readonly #missing = new Set<string>();

  constructor(options: ForwardTableOptions) {
    this.#options = options;
  }

  /**
   * Listens for all of `rules`, or for none. A rule that is exposed already is left as it is, and kept for
   * this holder too.
   * @returns the forward of each rule, in the same order
   * @throws OperationError that names the address and, where the OS tells, who holds it
   */
  expose(rules: readonly ForwardRule[], holder: 'static' | 'runtime' = 'runtime'): Promise<Forward[]> {
    return this.#change(() => this.#expose(rules, holder));
  }

  /**
   * Stops listening for the forwards that match, whoever wants them; their connections go on, but UDP flows
   * end.
   * @returns those that were removed
   */
  unexpose(matches: (rule: ForwardRule) => boolean): Promise<Forward[]> {
    return this.#change(async () => {
      const removed = [...this.#entries.values()].filter(({ forward }) => matches(forward.rule));
      await this.#remove(removed);
      if (removed.length > 0) await this.#report();
      return removed.map(({ forward }) => forward);
    });
  }

  /**
   * Lets go of some claims and listens for others, each by itself: `forward` or `failure` of each says what
   * has become of it. A failure that has the errno of the one before is not described anew.
   */
  claim(claims: readonly Claim[], released: readonly Claim[] = []): Promise<void> {
    return this.#change(async () => {
      await this.#release(released);
      if (!this.#closed) await this.#claim(claims);
    });
  }

  /** How many are listened on. */
  get size(): number {
    return this.#entries.size;
  }

  /** In the order in which they were exposed. */
  list(): Forward[] {
    return [...this.#entries.values()].map(({ forward }) => forward);
  }

  /** Stops listening for good; connections go on, but UDP flows end. Resolves when every address is free. */
  close(): Promise<void> {
    return this.#change(async () => {
      this.#closed = true;
      const entries = [...this.#entries.values()];
      this.#entries.clear();
      await Promise.all(entries.map(({ listener }) => listener.close()));
    });
  }

  /** Two exposes at once could each take a part of what the other needs. */
  #change<T>(action: () => Promise<T>): Promise<T> {
    const outcome = this.#lastChange.then(action);
    this.#lastChange = outcome.catch(() => undefined);
    return outcome;
  }

  async #expose(rules: readonly ForwardRule[], holder: 'static' | 'runtime'): Promise<Forward[]> {
    if (this.#closed) throw new OperationError('the host is stopping and takes no more forwards');
    const added = new Map<string, Entry>();
    const entries: Entry[] = [];
    try {
      for (const rule of rules) {
        const key = formatRule(rule);
        const known = this.#entries.get(key) ?? added.get(key);
        const entry = known ?? (await this.#open(rule, added));
        if (!known) added.set(formatRule(entry.forward.rule), entry);
        entries.push(entry);
      }
    } catch (thrown) {
      await Promise.all([...added.values()].map(({ listener }) => listener.close()));
      throw thrown;
    }
    const changed = entries.some(({ holders }) => !holders.has(holder));
    for (const { holders } of entries) holders.add(holder);
    for (const entry of added.values()) this.#start(entry);
    if (changed) await this.#report();
    return entries.map(({ forward }) => forward);
  }

  async #claim(claims: readonly Claim[]): Promise<void> {
    let causes = CAUSES_PER_BATCH;
    for (const [index, claim] of claims.entries()) {
      if (index % CLAIMS_AT_ONCE === CLAIMS_AT_ONCE - 1) await setImmediate();
      if (claim.withdrawn || claim.forward) continue;
      try {
        const entry = this.#entries.get(formatRule(claim.rule)) ?? (await this.#listen(claim.rule));
        entry.holders.add(claim);
        if (entry.holders.size === 1) this.#start(entry);
        claim.forward = entry.forward;
        claim.failure = undefined;
      } catch (thrown) {
        const code = codeOf(thrown);
        if (claim.failure && code !== undefined && claim.failure.code === code) continue;
        const described = await this.#describe(thrown, claim.rule.proto, new Map(), causes-- > 0);
        claim.failure = { message: messageOf(described), code };
      }
    }
  }

  async #release(claims: readonly Claim[]): Promise<void> {
    const orphans: Entry[] = [];
    for (const claim of claims) {
      const entry = claim.forward && this.#entries.get(formatRule(claim.forward.rule));
      claim.forward = undefined;
      if (entry?.holders.delete(claim) && entry.holders.size === 0) orphans.push(entry);
    }
    await this.#remove(orphans);
  }

  async #remove(entries: readonly Entry[]): Promise<void> {
    for (const { forward } of entries) this.#entries.delete(formatRule(forward.rule));
    await Promise.all(entries.map(({ listener }) => listener.close()));
    for (const { forward } of entries)
      this.#options.logger.info({ forward: forward.id }, 'no longer listening');
    if (entries.length > 0) this.#options.onRemoved?.();
  }

  /** @throws OperationError, described for a person */
  async #open(rule: ForwardRule, added: ReadonlyMap<string, Entry>): Promise<Entry> {
    try {
      return await this.#listen(rule);
    } catch (thrown) {
      throw await this.#describe(thrown, rule.proto, added, true);
    }
  }

  /** @throws BindError; for a unix path OperationError */
  async #listen(rule: ForwardRule): Promise<Entry> {
    const onMissing = (ip: string): void => this.#logMissing(ip);
    const { logger } = this.#options;
    const listener =
      rule.proto === 'udp'
        ? await UdpListener.open(rule, logger, onMissing)
        : await Listener.open(rule, logger, onMissing);
    const holders = new Set<Holder>();
    return { forward: makeForward(listener, holders), listener, holders };
  }

  /** @param lookForCause whether it is worth the time to find out who is in the way */
  async #describe(
    thrown: unknown,
    proto: ForwardRule['proto'],
    added: ReadonlyMap<string, Entry>,
    lookForCause: boolean,
  ): Promise<unknown> {
    if (!(thrown instanceof BindError)) return thrown;
    const { ip, port, cause } = thrown;
    const kind = proto === 'udp' ? 'udp' : 'tcp';
    if (!lookForCause) return describeBindFailure(ip, port, cause, 'something else', kind);
    const entries = [...this.#entries.values(), ...added.values()];
    const own = entries.find(({ forward }) => holds(forward.rule, proto, ip, port));
    return describeBindFailure(ip, port, cause, own && describeForward(own.forward), kind);
  }

  #start(entry: Entry): void {
    const { onClient, onUdpForward, logger } = this.#options;
    const { forward, listener } = entry;
    this.#entries.set(formatRule(forward.rule), entry);
    logger.info(
      { forward: forward.id, destination: formatDestination(forward.rule.destination) },
      `listening on ${forward.addresses.join(' and ')}`,
    );
    if (listener instanceof UdpListener) onUdpForward?.(listener, forward);
    else listener.start((socket) => onClient(socket, forward));
  }

  async #report(): Promise<void> {
    const kept = [...this.#entries.values()].filter(({ holders }) => holders.has('runtime'));
    try {
      await this.#options.onChange?.(kept.map(({ forward }) => forward.rule));
    } catch (err) {
      // The change itself was made and stands: whoever asked for it must not be told otherwise.
      this.#options.logger.error({ err }, 'the forwards as they now are could not be recorded');
    }
  }

  #logMissing(ip: string): void {
    if (this.#missing.has(ip)) return;
    this.#missing.add(ip);
    this.#options.logger.warn({ ip }, `this machine has no address ${ip}: forwards listen without it`);
  }
}

function makeForward(listener: Listener | UdpListener, holders: ReadonlySet<Holder>): Forward {
  const { rule, addresses } = listener;
  return {
    id: forwardId(rule),
    rule,
    get origin() {
      if (holders.has('static')) return 'static';
      return holders.has('runtime') ? 'runtime' : 'published';
    },
    get publisher() {
      for (const holder of holders) if (typeof holder === 'object') return holder.publisher;
      return undefined;
    },
    createdAt: new Date(),
    addresses,
    counters: noCounts(),
  };
}

/** The counters of a forward that nobody has used yet. */
export function noCounts(): ForwardCounters {
  return {
    ...{ connections: 0, active: 0, refused: 0, failed: 0, empty: 0, dropped: 0 },
    ...{ bytesToGuest: 0, bytesToHost: 0 },
  };
}

/** What people call a forward: `tcp localhost:8080`. */
export function forwardId(rule: ForwardRule): string {
  return `${rule.proto} ${formatHostEnd(rule)}`;
}

function codeOf(thrown: unknown): string | undefined {
  return errnoOf(thrown) ?? errnoOf((thrown as { cause?: unknown }).cause);
}

function holds(rule: ForwardRule, proto: ForwardRule['proto'], ip: string, port: number): boolean {
  if (rule.proto === 'unix' || rule.proto !== proto) return false;
  return rule.hostPort === port && rule.hostIps.some((own) => addressesOverlap(own, ip));
}

function describeForward({ rule }: Forward): string {
  return `the forward ${formatHostEnd(rule)} → ${formatDestination(rule.destination)}`;
}
