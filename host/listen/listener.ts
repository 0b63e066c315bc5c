import net from 'node:net';
import { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { Logger } from '../../protocol/program/logger.js';
import { acceptSockets, descriptorOf } from '../../protocol/socket/accept.js';
import { boundLocalReceiveBuffer } from '../../protocol/socket/buffers.js';
import { listenOnTcp, pauseAccepting, resumeAccepting } from '../../protocol/socket/listen-tcp.js';
import { isLoopback } from '../../protocol/socket/loopback.js';
import type { RawSocket } from '../../protocol/socket/raw-socket.js';
import { listenOnUnixPath } from '../../protocol/transport/unix-path.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import { type ForwardRule, formatHostEnd, formatRule } from '../rule/forward-rule.js';
import { bindPort } from './bind-port.js';
import {
  BIND_RULES,
  type BindRules,
  isOwnAddress,
  LocalAddresses,
  needsWildcard,
  wildcardOf,
} from './bind-rules.js';

/** Connections that the OS holds until they are accepted: as many as Linux takes by default (somaxconn). */
const BACKLOG = 4096;

/** A server that cannot accept fails for every client: it is logged this often (ms) at most. */
const ERROR_LOG_INTERVAL_MS = 1_000;

/** Listener, for those who only use one: in simulations it has no sockets. */
export type ClientListener = Pick<
  Listener,
  'rule' | 'addresses' | 'filtered' | 'start' | 'setAccepting' | 'close'
>;

/** Binds what a TCP or unix rule asks for, as Listener.open does. */
export type OpenListener = (...parameters: Parameters<typeof Listener.open>) => Promise<ClientListener>;

/** The listening sockets of one TCP or unix forward. Clients that come before start() wait for it. */
export class Listener {
  #rule: ForwardRule;
  readonly #logger: Logger;
  readonly #rules: BindRules;
  readonly #servers: net.Server[] = [];
  /** By wildcard address: who is let in where that is bound though something narrower was asked for. */
  readonly #filters = new Map<string, LocalAddresses>();
  readonly #turnedAway: LogLimiter;
  #early: RawSocket[] = [];
  #onClient: ((socket: RawSocket) => void) | undefined;
  #lastErrorLogged = Number.NEGATIVE_INFINITY;

  private constructor(rule: ForwardRule, logger: Logger, rules: BindRules) {
    this.#rule = rule;
    this.#logger = logger;
    this.#rules = rules;
    this.#turnedAway = new LogLimiter(logger);
  }

  /**
   * Binds all addresses of a rule, as bindPort does.
   * @param onMissing is told the address that was left out
   * @throws BindError; for a unix path OperationError
   */
  static async open(
    rule: ForwardRule,
    logger: Logger,
    onMissing: (ip: string) => void,
    rules: BindRules = BIND_RULES,
  ): Promise<Listener> {
    const listener = new Listener(rule, logger, rules);
    if (rule.proto === 'unix') await listener.#bindPath(rule.hostPath);
    else {
      const binder = {
        bind: (ip: string, port: number) => listener.#bind(ip, port),
        close: () => listener.close(),
      };
      listener.#rule = await bindPort(rule, binder, onMissing);
    }
    return listener;
  }

  /** With the port that was chosen, where 0 was asked for. */
  get rule(): ForwardRule {
    return this.#rule;
  }

  /** What is bound: `127.0.0.1:8080`, `[::1]:8080` or a path. */
  get addresses(): string[] {
    if (this.#rule.proto === 'unix') return [this.#rule.hostPath];
    return this.#servers.map((server) => {
      const { address, port } = server.address() as net.AddressInfo;
      return formatHostPort(address, port);
    });
  }

  /** Whether it listens on every address, and resets who comes by another one than those that were asked for. */
  get filtered(): boolean {
    return this.#filters.size > 0;
  }

  /** Hands over the clients that wait, and from now on each new one. */
  start(onClient: (socket: RawSocket) => void): void {
    this.#onClient = onClient;
    for (const socket of this.#early.splice(0)) onClient(socket);
  }

  /** Has further clients wait in the OS's queue, where the OS lets it, or lets them in again. */
  setAccepting(accepting: boolean): void {
    for (const server of this.#servers) {
      if (accepting) resumeAccepting(server);
      else pauseAccepting(server);
    }
  }

  /** Stops listening; clients that were handed over are not touched. Resolves when the addresses are free. */
  async close(): Promise<void> {
    for (const socket of this.#early.splice(0)) socket.reset();
    this.#filters.clear();
    this.#turnedAway.flush();
    await Promise.all(this.#servers.splice(0).map(closeServer));
  }

  async #bindPath(path: string): Promise<void> {
    const server = makeServer();
    await listenOnUnixPath(server, path);
    this.#accept(server, false);
  }

  #bind(ip: string, port: number): Promise<number> {
    if (needsWildcard(ip, port, this.#rules)) return this.#bindFiltered(ip, port);
    const server = makeServer();
    return bind(server, ip, port, () => {
      if (isLoopback(ip)) boundLocalReceiveBuffer(descriptorOf(server));
      this.#accept(server, true);
    });
  }

  /** Listens on every address of the family, for those who come by `ip`. */
  async #bindFiltered(ip: string, port: number): Promise<number> {
    if (!isOwnAddress(ip))
      throw Object.assign(new Error(`bind EADDRNOTAVAIL ${ip}`), { code: 'EADDRNOTAVAIL' });
    const wildcard = wildcardOf(ip);
    const known = this.#filters.get(wildcard);
    if (known) {
      known.add(ip);
      return port;
    }
    const allowed = new LocalAddresses(ip);
    const server = makeServer();
    const bound = await bind(server, wildcard, port, () => {
      if (isLoopback(ip)) boundLocalReceiveBuffer(descriptorOf(server));
      this.#accept(server, true, allowed);
    });
    this.#filters.set(wildcard, allowed);
    return bound;
  }

  /** Must follow 'listening' at once: a client that node:net accepts by itself would be left alone. */
  #accept(server: net.Server, tcp: boolean, allowed?: LocalAddresses): void {
    this.#servers.push(server);
    server.on('error', (error) => this.#logError(error));
    acceptSockets(server, tcp, (socket) => {
      if (allowed && !allowed.allows(socket.local?.ip)) this.#turnAway(socket);
      else if (this.#onClient) this.#onClient(socket);
      else this.#early.push(socket);
    });
  }

  /** Before a byte is forwarded: the forward is not for whoever has come by this address. */
  #turnAway(socket: RawSocket): void {
    const { remote, local } = socket;
    socket.reset();
    const forward = formatRule(this.#rule);
    const message = `a client was reset that has come by another address than that of ${formatHostEnd(this.#rule)}`;
    this.#turnedAway.log('info', 'turned away', { forward, client: remote?.ip, by: local?.ip }, message);
  }

  #logError(err: Error): void {
    const now = performance.now();
    if (now - this.#lastErrorLogged < ERROR_LOG_INTERVAL_MS) return;
    this.#lastErrorLogged = now;
    this.#logger.error({ err, forward: formatRule(this.#rule) }, 'cannot accept clients; listening goes on');
  }
}

/** @returns the port */
function bind(server: net.Server, host: string, port: number, onListening: () => void): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      onListening();
      resolve((server.address() as net.AddressInfo).port);
    });
    listenOnTcp(server, { host, port, backlog: BACKLOG });
  });
}

function makeServer(): net.Server {
  return net.createServer({ pauseOnConnect: true, allowHalfOpen: true });
}

function closeServer(server: net.Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
