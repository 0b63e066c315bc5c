import { OperationError } from '../protocol/errors.js';
import type { Logger } from '../protocol/program/logger.js';
import type { RawSocket } from '../protocol/socket/raw-socket.js';
import { formatDestination } from '../protocol/wire/destination.js';
import { describeBindFailure } from './bind-failure.js';
import { BindError } from './bind-port.js';
import { addressesOverlap, type ForwardRule, formatHostEnd, isSameRule } from './forward-rule.js';
import { Listener } from './listener.js';
import { UdpListener } from './udp-listener.js';

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
  /** Static ones come from the configuration, others are asked for at run time. */
  readonly origin: ForwardOrigin;
  readonly createdAt: Date;
  /** What is bound: `127.0.0.1:8080`, `[::1]:8080` or a path. */
  readonly addresses: readonly string[];
  readonly counters: ForwardCounters;
}

export type ForwardOrigin = 'static' | 'runtime';

export interface ForwardTableOptions {
  /** Gets each client: paused, so set its handler and call resume(). */
  onClient(socket: RawSocket, forward: Forward): void;
  /** Gets each UDP forward that is listened on: call start() of its listener, or its datagrams are dropped. */
  onUdpForward?(listener: UdpListener, forward: Forward): void;
  /** Told after each change, with the forwards that are not static. What it returns is waited for. */
  onChange?(runtimeRules: ForwardRule[]): void | Promise<void>;
  logger: Logger;
}

interface Entry {
  readonly forward: Forward;
  readonly listener: Listener | UdpListener;
}

/** The forwards of a host, and their listeners. Changes happen one after the other. */
export class ForwardTable {
  readonly #options: ForwardTableOptions;
  readonly #entries = new Map<string, Entry>();
  #lastChange: Promise<unknown> = Promise.resolve();
  #closed = false;
  readonly #missing = new Set<string>();

  constructor(options: ForwardTableOptions) {
    this.#options = options;
  }

  /**
   * Listens for all of `rules`, or for none. A rule that is exposed already is left as it is.
   * @returns the forward of each rule, in the same order
   * @throws OperationError that names the address and, where the OS tells, who holds it
   */
  expose(rules: readonly ForwardRule[], origin: ForwardOrigin = 'runtime'): Promise<Forward[]> {
    return this.#change(() => this.#expose(rules, origin));
  }

  /**
   * Stops listening for the forwards that match; their connections go on, but UDP flows end.
   * @returns those that were removed
   */
  unexpose(matches: (rule: ForwardRule) => boolean): Promise<Forward[]> {
    return this.#change(async () => {
      const removed = [...this.#entries.values()].filter(({ forward }) => matches(forward.rule));
      for (const { forward } of removed) this.#entries.delete(forward.id);
      await Promise.all(removed.map(({ listener }) => listener.close()));
      for (const { forward } of removed)
        this.#options.logger.info({ forward: forward.id }, 'no longer listening');
      if (removed.length > 0) await this.#report();
      return removed.map(({ forward }) => forward);
    });
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

  async #expose(rules: readonly ForwardRule[], origin: ForwardOrigin): Promise<Forward[]> {
    if (this.#closed) throw new OperationError('the host is stopping and takes no more forwards');
    const added: Entry[] = [];
    const forwards: Forward[] = [];
    try {
      for (const rule of rules) {
        const known = this.#find(rule, added);
        const entry = known ?? (await this.#listen(rule, origin, added));
        if (!known) added.push(entry);
        forwards.push(entry.forward);
      }
    } catch (thrown) {
      await Promise.all(added.map(({ listener }) => listener.close()));
      throw thrown;
    }
    for (const entry of added) this.#start(entry);
    if (added.length > 0) await this.#report();
    return forwards;
  }

  #find(rule: ForwardRule, added: readonly Entry[]): Entry | undefined {
    return [...this.#entries.values(), ...added].find(({ forward }) => isSameRule(forward.rule, rule));
  }

  async #listen(rule: ForwardRule, origin: ForwardOrigin, added: readonly Entry[]): Promise<Entry> {
    try {
      const onMissing = (ip: string): void => this.#logMissing(ip);
      const { logger } = this.#options;
      const listener =
        rule.proto === 'udp'
          ? await UdpListener.open(rule, logger, onMissing)
          : await Listener.open(rule, logger, onMissing);
      return { forward: makeForward(listener, origin), listener };
    } catch (thrown) {
      if (!(thrown instanceof BindError)) throw thrown;
      const { ip, port, cause } = thrown;
      const own = [...this.#entries.values(), ...added].find(({ forward }) =>
        holds(forward.rule, rule.proto, ip, port),
      );
      const proto = rule.proto === 'udp' ? 'udp' : 'tcp';
      throw await describeBindFailure(ip, port, cause, own && describeForward(own.forward), proto);
    }
  }

  #start({ forward, listener }: Entry): void {
    const { onClient, onUdpForward, logger } = this.#options;
    this.#entries.set(forward.id, { forward, listener });
    logger.info(
      { forward: forward.id, destination: formatDestination(forward.rule.destination) },
      `listening on ${forward.addresses.join(' and ')}`,
    );
    if (listener instanceof UdpListener) onUdpForward?.(listener, forward);
    else listener.start((socket) => onClient(socket, forward));
  }

  async #report(): Promise<void> {
    const kept = this.list().filter(({ origin }) => origin === 'runtime');
    try {
      await this.#options.onChange?.(kept.map(({ rule }) => rule));
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

function makeForward(listener: Listener | UdpListener, origin: ForwardOrigin): Forward {
  const { rule, addresses } = listener;
  const counters = {
    ...{ connections: 0, active: 0, refused: 0, failed: 0, dropped: 0 },
    ...{ bytesToGuest: 0, bytesToHost: 0 },
  };
  return {
    id: `${rule.proto} ${formatHostEnd(rule)}`,
    rule,
    origin,
    createdAt: new Date(),
    addresses,
    counters,
  };
}

function holds(rule: ForwardRule, proto: ForwardRule['proto'], ip: string, port: number): boolean {
  if (rule.proto === 'unix' || rule.proto !== proto) return false;
  return rule.hostPort === port && rule.hostIps.some((own) => addressesOverlap(own, ip));
}

function describeForward({ rule }: Forward): string {
  return `the forward ${formatHostEnd(rule)} → ${formatDestination(rule.destination)}`;
}
