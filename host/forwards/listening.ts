import { errnoOf, messageOf } from '../../protocol/errors.js';
import { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { Logger } from '../../protocol/program/logger.js';
import type { RawSocket } from '../../protocol/socket/raw-socket.js';
import { formatDestination } from '../../protocol/wire/destination.js';
import { describeBindFailure } from '../listen/bind-failure.js';
import { BindError } from '../listen/bind-port.js';
import { BIND_RULES, type BindRules, needsWildcard } from '../listen/bind-rules.js';
import { type ClientListener, Listener, type OpenListener } from '../listen/listener.js';
import { type Look, NOBODY, PortGuard } from '../listen/port-guard.js';
import { PortOwners } from '../listen/port-owners.js';
import { UdpListener } from '../listen/udp-listener.js';
import { type ForwardRule, formatHostEnd, formatRule, type PortRule } from '../rule/forward-rule.js';
import { type Bound, describeForward, isInTheWay, makeForward } from './bound.js';
import type { Claim } from './claim.js';
import type { Forward } from './forward.js';
import type { ForwardTeller } from './forward-observer.js';
import { HostEnds } from './host-ends.js';
import { ListenFailure, needsEveryAddress, takenBy } from './listen-failure.js';

/** Equal lines of the log that guests can cause in a minute; those beyond are summed up. */
export const GUEST_LINES_PER_MINUTE = 20;

/** Ports that the OS chooses are looked at so often before it is given up that one is nobody else's. */
const PORT_CHOICES = 20;

export interface ListeningOptions {
  /** Gets each client: paused, so set its handler and call resume(). */
  onClient(socket: RawSocket, forward: Forward): void;
  /** Gets each UDP forward that is listened on: call start() of its listener, or its datagrams are dropped. */
  onUdpForward?(listener: UdpListener, forward: Forward): void;
  logger: Logger;
  /** Told when forwards have gone. */
  onRemoved?(): void;
  /** Default: nobody counts. */
  descriptors?: ListenerDescriptors;
  /** Who is asked which process has a port. */
  owners?: PortOwners;
  /** How the platform goes about ports. */
  bindRules?: BindRules;
  /** Who looks for programs on ports that the platform would let be bound twice. */
  guard?: PortGuard;
  /** What binds TCP and unix rules. Default: Listener.open. */
  openListener?: OpenListener;
}

/** Who counts the file descriptors of listening sockets. */
export interface ListenerDescriptors {
  /**
   * @param what the forward, for the message
   * @throws OperationError EMFILE when there is no room for so many more
   */
  takeListeners(count: number, what: string): void;
  giveListeners(count: number): void;
}

/** The listeners of a host's forwards. */
export class Listening {
  readonly #options: ListeningOptions;
  readonly #observer: ForwardTeller;
  readonly #owners: PortOwners;
  readonly #bindRules: BindRules;
  readonly #guard: PortGuard | undefined;
  readonly #limited: LogLimiter;
  /** Those that serve clients, by formatRule. */
  readonly #started = new Map<string, Bound>();
  /** These, and those that were bound just now. */
  readonly #bound = new HostEnds<Bound>();
  #accepting = true;
  readonly #missing = new Set<string>();

  /** @param observer is told what is listened on */
  constructor(options: ListeningOptions, observer: ForwardTeller) {
    this.#options = options;
    this.#observer = observer;
    this.#owners = options.owners ?? new PortOwners();
    this.#bindRules = options.bindRules ?? BIND_RULES;
    this.#guard = this.#bindRules.sharesPorts ? (options.guard ?? new PortGuard()) : undefined;
    this.#limited = new LogLimiter(options.logger, { linesPerInterval: GUEST_LINES_PER_MINUTE });
  }

  /** How many forwards serve clients. */
  get size(): number {
    return this.#started.size;
  }

  /** In the order in which they were started. */
  list(): Forward[] {
    return [...this.#started.values()].map(({ forward }) => forward);
  }

  /** What serves the clients of exactly this rule. */
  find(rule: ForwardRule): Bound | undefined {
    return this.#started.get(formatRule(rule));
  }

  /** Whether binding succeeds here on ports of other programs, so that they must be looked for. */
  get looks(): boolean {
    return this.#guard !== undefined;
  }

  /** Looks for programs that serve the ports of some rules, where binding would succeed all the same. */
  async look(rules: readonly ForwardRule[], urgent: boolean): Promise<Look> {
    return this.#guard ? this.#guard.look(rules, urgent) : NOBODY;
  }

  /**
   * Binds the addresses of a rule, all or none.
   * @param look a look at its port, from before
   * @throws ListenFailure
   */
  async open(rule: ForwardRule, look: Look): Promise<Bound> {
    if (rule.proto === 'unix') this.#checkPath(rule.hostPath, rule);
    else this.#checkPort(rule, look);
    const { descriptors } = this.#options;
    const sockets = rule.proto === 'unix' ? 1 : rule.hostIps.length;
    this.#takeRoom(sockets, rule);
    const listener = await this.#bindUnshared(rule).catch((thrown: unknown) => {
      descriptors?.giveListeners(sockets);
      throw this.#failureOf(rule, thrown);
    });
    const claims = new Set<Claim>();
    const bound = { forward: makeForward(listener, claims), listener, claims };
    this.#bound.set(bound, bound.forward.rule);
    // An IPv6 address that this machine does not have takes none.
    descriptors?.giveListeners(sockets - bound.forward.addresses.length);
    return bound;
  }

  /**
   * Looks again, for programs that have come to the same ports just before these were bound.
   * @returns those that must be closed, and why
   */
  async confirm(bounds: readonly Bound[]): Promise<Map<Bound, ListenFailure>> {
    const failures = new Map<Bound, ListenFailure>();
    const look = await this.look(
      bounds.map(({ forward }) => forward.rule),
      true,
    );
    for (const bound of bounds) {
      const held = look.heldBy(bound.forward.rule);
      if (held) failures.set(bound, takenBy(held));
    }
    return failures;
  }

  /**
   * From now on it serves its clients, those who wait first.
   * @param waited who had been told that it is not listened on
   */
  start(bound: Bound, waited?: string): void {
    const { onClient, onUdpForward } = this.#options;
    const { forward, listener } = bound;
    this.#started.set(formatRule(forward.rule), bound);
    const destination = formatDestination(forward.rule.destination);
    const addresses = forward.addresses.join(' and ');
    const only = forward.filtered ? `, for clients of ${formatHostEnd(forward.rule)} alone` : '';
    const now = waited === undefined ? '' : `, for ${waited} now`;
    this.#log(forward, 'listening', { destination }, `listening on ${addresses}${only}${now}`);
    if (listener instanceof UdpListener) onUdpForward?.(listener, forward);
    else {
      if (!this.#accepting) listener.setAccepting(false);
      listener.start((socket) => onClient(socket, forward));
    }
    this.#observer.onListening(forward);
  }

  /** Gives up listening, where that has not been done already. Resolves when the addresses are free. */
  async close(given: readonly Bound[]): Promise<void> {
    const { descriptors, onRemoved } = this.#options;
    const bounds = given.filter((bound) => this.#bound.has(bound));
    const stopped = bounds.filter((bound) => this.#started.delete(formatRule(bound.forward.rule)));
    for (const bound of bounds) this.#bound.delete(bound);
    await Promise.all(bounds.map(({ listener }) => listener.close()));
    for (const { forward } of bounds) descriptors?.giveListeners(forward.addresses.length);
    for (const { forward } of stopped) {
      this.#log(forward, 'no longer', {}, 'no longer listening');
      this.#observer.onNoLonger(forward);
    }
    if (stopped.length > 0) onRemoved?.();
  }

  /** Has further clients of all forwards wait in the OS's queues, or lets them in again. */
  setAccepting(accepting: boolean): void {
    this.#accepting = accepting;
    for (const { listener } of this.#started.values())
      if (!(listener instanceof UdpListener)) listener.setAccepting(accepting);
  }

  /** Gives up everything. */
  async closeAll(): Promise<void> {
    const all = [...this.#started.values()];
    this.#started.clear();
    await this.close(all);
    this.#owners.close();
    this.#limited.flush();
  }

  /**
   * The message of a failure, with the process that is in the way, if the OS tells.
   * @param urgent the user waits for it
   */
  async explain({ message, taken }: ListenFailure, urgent: boolean): Promise<string> {
    if (!taken) return message;
    const { address, cause } = taken;
    return describeBindFailure(address, cause, await this.#owners.find(address, urgent)).message;
  }

  #bind(rule: ForwardRule): Promise<ClientListener | UdpListener> {
    const onMissing = (ip: string): void => this.#logMissing(ip);
    const { logger, openListener = Listener.open } = this.#options;
    if (rule.proto === 'udp') return UdpListener.open(rule, logger, onMissing);
    return openListener(rule, logger, onMissing, this.#bindRules);
  }

  /** @throws ListenFailure */
  #takeRoom(sockets: number, rule: ForwardRule): void {
    try {
      this.#options.descriptors?.takeListeners(sockets, formatHostEnd(rule));
    } catch (thrown) {
      throw new ListenFailure(messageOf(thrown), errnoOf(thrown));
    }
  }

  /** A port that the OS chooses may be one that another program has on another address: then the next one. */
  async #bindUnshared(rule: ForwardRule, choices = PORT_CHOICES): Promise<ClientListener | UdpListener> {
    const listener = await this.#bind(rule);
    if (!this.#guard || rule.proto === 'unix' || rule.hostPort !== 0) return listener;
    const held = (await this.look([listener.rule], true)).heldBy(listener.rule);
    if (!held) return listener;
    await listener.close();
    if (choices === 1) throw takenBy(held);
    return this.#bindUnshared(rule, choices - 1);
  }

  /**
   * What the OS would let pass, or refuse without the reason.
   * @throws ListenFailure
   */
  #checkPort(rule: PortRule, look: Look): void {
    const held = look.heldBy(rule);
    if (held) throw takenBy(held);
    const { proto, hostIps, hostPort: port } = rule;
    for (const ip of hostIps) {
      const own = this.#bindRules.sharesPorts && port !== 0 && this.#ownInTheWay(rule, ip);
      if (own) throw takenBy({ address: { proto, ip, port }, owner: describeForward(own.forward) });
      if (proto === 'udp' && needsWildcard(ip, port, this.#bindRules))
        throw needsEveryAddress(ip, port, this.#bindRules.wildcardOnlyBelow);
    }
  }

  #ownInTheWay(rule: PortRule, ip: string): Bound | undefined {
    return [...this.#bound.near(rule)].find(({ forward }) => isInTheWay(forward, ip));
  }

  /** The OS would say of a socket of our own that some process has it. */
  #checkPath(path: string, rule: ForwardRule): void {
    const [own] = this.#bound.near(rule);
    if (own)
      throw new ListenFailure(
        `cannot listen on ${path}: ${describeForward(own.forward)} has it; unexpose that first, or choose another path`,
        'EADDRINUSE',
      );
  }

  #failureOf(rule: ForwardRule, thrown: unknown): ListenFailure {
    if (thrown instanceof ListenFailure) return thrown;
    if (!(thrown instanceof BindError) || rule.proto === 'unix') {
      const { message, cause } = thrown as Error;
      return new ListenFailure(message, errnoOf(cause));
    }
    const { ip, port, cause } = thrown;
    const address = { proto: rule.proto, ip, port };
    const own = this.#ownInTheWay({ ...rule, hostPort: port }, ip);
    const code = errnoOf(cause);
    const { message } = describeBindFailure(address, cause, own && describeForward(own.forward));
    return new ListenFailure(message, code, code === 'EADDRINUSE' && !own ? { address, cause } : undefined);
  }

  #logMissing(ip: string): void {
    if (this.#missing.has(ip)) return;
    this.#missing.add(ip);
    this.#options.logger.warn({ ip }, `this machine has no address ${ip}: forwards listen without it`);
  }

  /** What guests can make happen again and again does not fill the log. */
  #log({ id, origin }: Forward, kind: string, context: object, message: string): void {
    const fields = { forward: id, ...context };
    if (origin === 'published') this.#limited.log('info', kind, fields, message);
    else this.#options.logger.info(fields, message);
  }
}
