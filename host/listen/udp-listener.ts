import type dgram from 'node:dgram';
import type { Logger } from '../../protocol/program/logger.js';
import { createUdpSocket, takesDatagrams } from '../../protocol/socket/udp-socket.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import type { SourceAddress } from '../../protocol/wire/extension.js';
import { formatRule, type PortRule } from '../rule/forward-rule.js';
import { bindPort } from './bind-port.js';

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
   * @param socket which of the forward's sockets it came to; answers go out through the same
   */
  onDatagram(payload: Buffer, client: SourceAddress, socket: UdpServerSocket): void;
  /** The forward is given up: no more datagrams come, and none can be sent from now on. */
  onClose(): void;
}

/** One bound socket of a UDP forward. */
export class UdpServerSocket {
  /** What it is bound to. */
  readonly address: SourceAddress;
  readonly #socket: dgram.Socket;

  constructor(socket: dgram.Socket) {
    const { address, port } = socket.address();
    this.address = { ip: address, port };
    this.#socket = socket;
  }

  /** Sends a datagram to a client. @param onFailed is told when it could not be sent, and why */
  send(payload: Buffer, client: SourceAddress, onFailed: (error: Error) => void): void {
    if (!takesDatagrams(this.#socket)) onFailed(new Error('too much waits for the kernel already'));
    else
      this.#socket.send(payload, client.port, client.ip, (error) => {
        if (error) onFailed(error);
      });
  }
}

/** The bound sockets of one UDP forward. */
export class UdpListener {
  #rule: PortRule;
  readonly #logger: Logger;
  readonly #sockets: dgram.Socket[] = [];
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
    return this.#sockets.map((socket) => {
      const { address, port } = socket.address();
      return formatHostPort(address, port);
    });
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
    await Promise.all(this.#sockets.splice(0).map(closeSocket));
  }

  async #bind(ip: string, port: number): Promise<number> {
    const socket = createUdpSocket(ip);
    try {
      await bindSocket(socket, ip, port);
    } catch (thrown) {
      await closeSocket(socket);
      throw thrown;
    }
    this.#sockets.push(socket);
    const server = new UdpServerSocket(socket);
    socket.on('error', (error) => this.#logError(error));
    socket.on('message', (payload, from) =>
      this.#received(payload, { ip: from.address, port: from.port }, server),
    );
    return server.address.port;
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

function bindSocket(socket: dgram.Socket, address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ address, port, exclusive: true }, () => {
      socket.off('error', reject);
      resolve();
    });
  });
}

function closeSocket(socket: dgram.Socket): Promise<void> {
  return new Promise((resolve) => socket.close(resolve));
}
