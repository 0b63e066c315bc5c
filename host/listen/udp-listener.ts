import type { Logger } from '../../protocol/program/logger.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import type { SourceAddress } from '../../protocol/wire/extension.js';
import { formatRule, type PortRule } from '../rule/forward-rule.js';
import { bindPort } from './bind-port.js';
import { type BoundUdpSocket, bindUdpSocket, type UdpServerSocket } from './udp-server-socket.js';

/** Datagrams that are kept until start(), which follows the binding of a command's last forward. */
const MAX_EARLY_DATAGRAMS = 64;

/** A socket that cannot receive fails again and again: it is logged this often (ms) at most. */
const ERROR_LOG_INTERVAL_MS = 1_000;

/** Who serves the datagrams of a UDP forward. */
export interface UdpHandler {
  /**
   * A datagram has come.
   * @param payload is the handler's
   * @param client with the zone of a link-local address, as answers need it
   * @param socket which of the forward's sockets, and which address, it came to; answers go out from there
   */
  onDatagram(payload: Buffer, client: SourceAddress, socket: UdpServerSocket): void;
  /** The forward is given up: no more datagrams come, and none can be sent from now on. */
  onClose(): void;
}

/** The bound sockets of one UDP forward. */
export class UdpListener {
  #rule: PortRule;
  readonly #logger: Logger;
  readonly #sockets: BoundUdpSocket[] = [];
  readonly #early: Parameters<UdpHandler['onDatagram']>[] = [];
  #handler: UdpHandler | undefined;
  #lastErrorLogged = Number.NEGATIVE_INFINITY;

  private constructor(rule: PortRule, logger: Logger) {
    this.#rule = rule;
    this.#logger = logger;
  }

  /**
   * Binds all addresses of a rule, as bindPort does.
   * @param onMissing is told the address that was left out
   * @throws BindError
   */
  static async open(rule: PortRule, logger: Logger, onMissing: (ip: string) => void): Promise<UdpListener> {
    const listener = new UdpListener(rule, logger);
    const binder = {
      bind: (ip: string, port: number) => listener.#bind(ip, port),
      close: () => listener.close(),
    };
    listener.#rule = await bindPort(rule, binder, onMissing);
    return listener;
  }

  /** With the port that was chosen, where 0 was asked for. */
  get rule(): PortRule {
    return this.#rule;
  }

  /** What is bound: `127.0.0.1:53`, `[::1]:53`. */
  get addresses(): string[] {
    return this.#sockets.map(({ address: { ip, port } }) => formatHostPort(ip, port));
  }

  /** Hands over the datagrams that wait, and from now on each new one. */
  start(handler: UdpHandler): void {
    this.#handler = handler;
    for (const datagram of this.#early.splice(0)) handler.onDatagram(...datagram);
  }

  /** Stops listening; its handler hears of it first. Resolves when the addresses are free. */
  async close(): Promise<void> {
    this.#handler?.onClose();
    this.#handler = undefined;
    await Promise.all(this.#sockets.splice(0).map((socket) => socket.close()));
  }

  async #bind(ip: string, port: number): Promise<number> {
    const socket = await bindUdpSocket(ip, port, {
      onDatagram: (...datagram) => this.#received(...datagram),
      onError: (error) => this.#logError(error),
    });
    this.#sockets.push(socket);
    return socket.address.port;
  }

  #received(...datagram: Parameters<UdpHandler['onDatagram']>): void {
    if (this.#handler) this.#handler.onDatagram(...datagram);
    else if (this.#early.length < MAX_EARLY_DATAGRAMS) this.#early.push(datagram);
  }

  #logError(err: Error): void {
    const now = performance.now();
    if (now - this.#lastErrorLogged < ERROR_LOG_INTERVAL_MS) return;
    this.#lastErrorLogged = now;
    this.#logger.error({ err, forward: formatRule(this.#rule) }, 'cannot receive; listening goes on');
  }
}
