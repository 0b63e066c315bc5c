import type { ChannelKeeper } from '../../protocol/channel/channel-keeper.js';
import { DeadlineQueue } from '../../protocol/deadline-queue.js';
import { messageOf } from '../../protocol/errors.js';
import type { Multiplexer } from '../../protocol/multiplexer.js';
import type { Logger } from '../../protocol/program/logger.js';
import type { RawSocket, SocketHandler } from '../../protocol/socket/raw-socket.js';
import { Splice, type SpliceEnd } from '../../protocol/splice.js';
import { formatDestination } from '../../protocol/wire/destination.js';
import type { Reason } from '../../protocol/wire/extension.js';
import type { Forward } from '../forwards/forward-table.js';
import type { ConnectionReport } from '../records/reports.js';
import { ClientConnection, type ConnectionState } from './client-connection.js';
import { encodeProxyHeader } from './proxy-protocol.js';
import { describeRefusal } from './refusal.js';

/** Connections that have ended and are still reported, so that one can be looked at after a short request. */
const RECENT_CONNECTIONS = 64;

export interface RelayOptions {
  keeper: ChannelKeeper;
  /** How long (ms) a client waits for a channel. */
  holdMs: number;
  /** Clients at once, as of now; see descriptors.ts. */
  maxClients: number;
  logger: Logger;
}

/**
 * Serves the clients of all forwards: each gets a stream to its forward's destination. While there is no
 * channel that takes streams, clients are held, and reset when that lasts too long.
 */
export class Relay {
  readonly #keeper: ChannelKeeper;
  readonly #holdMs: number;
  readonly #options: RelayOptions;
  readonly #log: Logger;
  readonly #open = new Set<ClientConnection>();
  readonly #recent: ClientConnection[] = [];
  readonly #held: DeadlineQueue<ClientConnection>;
  /** Whether it was said in this outage that clients are being reset. */
  #outageLogged = false;
  /** Whether it was said that there are too many clients, since there last were not. */
  #crowdLogged = false;

  constructor(options: RelayOptions) {
    this.#keeper = options.keeper;
    this.#holdMs = options.holdMs;
    this.#options = options;
    this.#held = new DeadlineQueue(options.holdMs, (connection) => this.#noChannel(connection));
    this.#log = options.logger;
  }

  /** Takes a client that was accepted, paused. */
  onClient(socket: RawSocket, forward: Forward): void {
    const connection = new ClientConnection(socket, forward);
    forward.counters.connections++;
    forward.counters.active++;
    this.#open.add(connection);
    const { multiplexer } = this.#keeper;
    if (this.#open.size > this.#options.maxClients) this.#tooMany(connection);
    else if (multiplexer?.takesStreams) this.#serve(connection, multiplexer);
    else this.#held.add(connection);
  }

  /** There is a channel: those who waited for it go on. */
  onChannelUp(multiplexer: Multiplexer): void {
    this.#outageLogged = false;
    for (const connection of this.#held.takeAll()) this.#serve(connection, multiplexer);
  }

  /** Open connections first, then those that ended last. */
  connections(): ConnectionReport[] {
    return [...this.#open, ...this.#recent.toReversed()].map((connection) => connection.report());
  }

  /** Resets every client that still waits or is being served; for the end of the process. */
  abort(reason: Reason): void {
    this.#held.takeAll();
    for (const connection of this.#open) {
      if (connection.splice) connection.splice.abort(reason);
      else this.#drop(connection);
    }
  }

  // ---- with a channel --------------------------------------------------------------------------------

  #serve(connection: ClientConnection, multiplexer: Multiplexer): void {
    const { socket, forward } = connection;
    try {
      const splice = new Splice(
        {
          onOpenResult: (result) => connection.connected(result),
          onFinished: (end) => this.#finished(connection, end),
        },
        (handler) => multiplexer.open(forward.rule.destination, handler, connection.source),
        (handler) => attend(socket, handler),
      );
      connection.opened(splice);
      const header = proxyHeader(connection);
      if (!header || splice.sendFirst(header)) socket.resume();
    } catch (thrown) {
      this.#log.warn({ forward: forward.id }, `client reset: ${messageOf(thrown)}`);
      this.#drop(connection);
    }
  }

  #finished(connection: ClientConnection, end: SpliceEnd): void {
    const { forward } = connection;
    const context = {
      forward: forward.id,
      streamId: connection.streamId,
      destination: formatDestination(forward.rule.destination),
    };
    switch (end.how) {
      case 'closed':
        this.#log.debug(context, 'connection closed');
        this.#end(connection, 'closed');
        return;
      case 'refused':
        this.#log.warn(
          { ...context, errno: end.result?.reason?.code },
          `client reset: ${describeRefusal(end.result, context.destination)}`,
        );
        this.#end(connection, 'refused');
        return;
      case 'socket-failed':
        this.#log.info({ ...context, code: end.reason.code }, `client gone: ${end.reason.message}`);
        this.#end(connection, 'failed');
        return;
      case 'reset':
      case 'lost':
        this.#log.info({ ...context, code: end.reason.code }, `client reset: ${end.reason.message}`);
        this.#end(connection, 'failed');
    }
  }

  #end(connection: ClientConnection, state: ConnectionState): void {
    this.#open.delete(connection);
    connection.ended(state);
    if (this.#open.size < this.#options.maxClients) this.#crowdLogged = false;
    this.#recent.push(connection);
    if (this.#recent.length > RECENT_CONNECTIONS) this.#recent.shift();
  }

  // ---- without one -----------------------------------------------------------------------------------

  #noChannel(connection: ClientConnection): void {
    const { state, address, lastError = 'no guest has come yet' } = this.#keeper.state;
    const time = `for ${this.#holdMs / 1000} s`;
    const message =
      state === 'connected'
        ? `the guest has taken no new streams ${time}: it is stopping`
        : `no channel on ${address} ${time} (${lastError}): start or check the guest`;
    const context = { forward: connection.forward.id };
    if (this.#outageLogged) this.#log.debug(context, `client reset: ${message}`);
    else this.#log.warn(context, `clients are reset: ${message}`);
    this.#outageLogged = true;
    this.#drop(connection);
  }

  /** Were descriptors to run out, the OS's connections would be ended without a word, the control socket's too. */
  #tooMany(connection: ClientConnection): void {
    if (!this.#crowdLogged)
      this.#log.warn(
        { forward: connection.forward.id },
        `clients are reset: ${this.#options.maxClients} are being served, and more would need more file descriptors than this process may have; raise the limit (ulimit -n)`,
      );
    this.#crowdLogged = true;
    this.#drop(connection);
  }

  #drop(connection: ClientConnection): void {
    connection.socket.reset();
    this.#end(connection, 'failed');
  }
}

/** What tells the destination who the client is, where the forward asks for that. */
function proxyHeader({ forward: { rule }, source }: ClientConnection): Buffer | undefined {
  return rule.proto === 'tcp' && rule.proxyProtocol
    ? encodeProxyHeader(rule.proxyProtocol, source)
    : undefined;
}

function attend(socket: RawSocket, handler: SocketHandler): RawSocket {
  socket.setHandler(handler);
  return socket;
}
