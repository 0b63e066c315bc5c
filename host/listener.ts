import { mkdir } from 'node:fs/promises';
import net from 'node:net';
import { dirname } from 'node:path';
import { errnoOf } from '../protocol/errors.js';
import type { Logger } from '../protocol/program/logger.js';
import { acceptSockets } from '../protocol/socket/accept.js';
import type { RawSocket } from '../protocol/socket/raw-socket.js';
import { listenOnUnixPath } from '../protocol/transport/unix-path.js';
import { formatHostPort } from '../protocol/wire/destination.js';
import { isNoSuchAddress } from './bind-failure.js';
import { type ForwardRule, formatRule, type PortRule } from './forward-rule.js';

/** Connections that the OS holds until they are accepted: as many as Linux takes by default (somaxconn). */
const BACKLOG = 4096;

/** Free ports of the first address that are tried before one must be free on the other addresses too. */
const PORT_ATTEMPTS = 20;

/** A server that cannot accept fails for every client: it is logged this often (ms) at most. */
const ERROR_LOG_INTERVAL_MS = 1_000;

/** A folder that is made for a socket is its owner's. */
const FOLDER_MODE = 0o700;

/** Binding one of a rule's addresses failed. */
export class BindError extends Error {
  override name = 'BindError';
  readonly ip: string;
  readonly port: number;

  constructor(ip: string, port: number, cause: unknown) {
    super(`cannot listen on ${formatHostPort(ip, port)}`, { cause });
    this.ip = ip;
    this.port = port;
  }
}

/** The listening sockets of one forward. Clients that come before start() wait for it. */
export class Listener {
  #rule: ForwardRule;
  readonly #logger: Logger;
  readonly #servers: net.Server[] = [];
  #early: RawSocket[] = [];
  #onClient: ((socket: RawSocket) => void) | undefined;
  #lastErrorLogged = Number.NEGATIVE_INFINITY;

  private constructor(rule: ForwardRule, logger: Logger) {
    this.#rule = rule;
    this.#logger = logger;
  }

  /**
   * Binds all addresses of a rule. An IPv6 address that the machine does not have is left out, if it stands
   * beside an IPv4 one.
   * @param onMissing is told the address that was left out
   * @throws BindError; for a unix path OperationError
   */
  static async open(rule: ForwardRule, logger: Logger, onMissing: (ip: string) => void): Promise<Listener> {
    const attempts = rule.proto === 'tcp' && rule.hostPort === 0 ? PORT_ATTEMPTS : 1;
    for (let attempt = 1; attempt < attempts; attempt++) {
      try {
        return await Listener.#openOnce(rule, logger, onMissing);
      } catch (thrown) {
        const lostRace = thrown instanceof BindError && errnoOf(thrown.cause) === 'EADDRINUSE';
        if (!lostRace) throw thrown;
      }
    }
    return Listener.#openOnce(rule, logger, onMissing);
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

  /** Hands over the clients that wait, and from now on each new one. */
  start(onClient: (socket: RawSocket) => void): void {
    this.#onClient = onClient;
    for (const socket of this.#early.splice(0)) onClient(socket);
  }

  /** Stops listening; clients that were handed over are not touched. Resolves when the addresses are free. */
  async close(): Promise<void> {
    for (const socket of this.#early.splice(0)) socket.reset();
    await Promise.all(this.#servers.splice(0).map(closeServer));
  }

  static async #openOnce(
    rule: ForwardRule,
    logger: Logger,
    onMissing: (ip: string) => void,
  ): Promise<Listener> {
    const listener = new Listener(rule, logger);
    try {
      if (rule.proto === 'unix') await listener.#bindPath(rule.hostPath);
      else await listener.#bindPort(rule, onMissing);
      return listener;
    } catch (thrown) {
      await listener.close();
      throw thrown;
    }
  }

  async #bindPath(path: string): Promise<void> {
    const server = makeServer();
    await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE });
    await listenOnUnixPath(server, path);
    this.#accept(server, false);
  }

  async #bindPort(rule: PortRule, onMissing: (ip: string) => void): Promise<void> {
    let port = rule.hostPort;
    for (const ip of rule.hostIps) {
      const server = makeServer();
      try {
        port = await bind(server, ip, port, () => this.#accept(server, true));
      } catch (thrown) {
        const optional = ip.includes(':') && this.#servers.length > 0;
        if (!optional || !isNoSuchAddress(thrown)) throw new BindError(ip, port, thrown);
        onMissing(ip);
      }
    }
    this.#rule = { ...rule, hostPort: port };
  }

  /** Must follow 'listening' at once: a client that node:net accepts by itself would be left alone. */
  #accept(server: net.Server, tcp: boolean): void {
    this.#servers.push(server);
    server.on('error', (error) => this.#logError(error));
    acceptSockets(server, tcp, (socket) => {
      if (this.#onClient) this.#onClient(socket);
      else this.#early.push(socket);
    });
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
    server.listen({ host, port, ipv6Only: true, backlog: BACKLOG }, () => {
      server.off('error', reject);
      onListening();
      resolve((server.address() as net.AddressInfo).port);
    });
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
