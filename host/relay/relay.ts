import type { StreamOpener } from '../../protocol/channel/stream-opener.js';
import { DeadlineQueue } from '../../protocol/deadline-queue.js';
import { errnoOf, messageOf } from '../../protocol/errors.js';
import type { RawSocket, SocketHandler } from '../../protocol/socket/raw-socket.js';
import { Splice, type SpliceEnd } from '../../protocol/splice.js';
import { formatDestination } from '../../protocol/wire/destination.js';
import type { Reason } from '../../protocol/wire/extension.js';
import type { Forward } from '../forwards/forward.js';
import type { ConnectionRecord } from '../records/connection-record.js';
import { type Cause, clientFailed, closed, endedByHost, streamEnded } from '../records/ending.js';
import type { Records } from '../records/records.js';
import type { Crowd } from './crowd.js';
import { encodeProxyHeader } from './proxy-protocol.js';

export interface RelayOptions {
  streams: StreamOpener;
  records: Records;
  /** How long (ms) a client waits for a channel. */
  holdMs: number;
  /** How many clients there may be. */
  crowd: Crowd;
}

/** One client of a TCP or unix forward. */
interface Client {
  readonly socket: RawSocket;
  readonly record: ConnectionRecord;
  /** From the moment its stream is opened until it has ended. */
  splice: Splice | undefined;
}

/**
 * Serves the clients of all TCP and unix forwards: each gets a stream to its forward's destination. While there
 * is no channel that takes streams, clients are held, and reset when that lasts too long. What happens to each
 * goes into its record, from which log and counters have it.
 */
export class Relay {
  readonly #options: RelayOptions;
  readonly #clients = new Set<Client>();
  readonly #held: DeadlineQueue<Client>;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#held = new DeadlineQueue(options.holdMs, (client) => this.#noChannel(client));
  }

  /** Takes a client that was accepted, paused. */
  onClient(socket: RawSocket, forward: Forward): void {
    const { streams, records, crowd } = this.#options;
    // Now: of a socket that is closed the OS tells nothing any more.
    const record = records.begin(forward, { client: socket.remote, listener: socket.local });
    const client: Client = { socket, record, splice: undefined };
    this.#clients.add(client);
    if (!crowd.enter()) this.#drop(client, endedByHost(TOO_MANY));
    else if (streams.takesStreams) this.#serve(client);
    else this.#held.add(client);
  }

  /** There is a channel: those who waited for it go on. */
  onChannelUp(): void {
    for (const client of this.#held.takeAll()) this.#serve(client);
  }

  /** Resets every client that still waits or is being served; for the end of the process. */
  abort(reason: Reason): void {
    this.#held.takeAll();
    for (const client of this.#clients) {
      if (client.splice) client.splice.abort(reason);
      else this.#drop(client, endedByHost(reason));
    }
  }

  // ---- with a channel --------------------------------------------------------------------------------

  #serve(client: Client): void {
    const { socket, record } = client;
    const { destination } = record.forward.rule;
    try {
      const splice = new Splice(
        {
          onOpenResult: (result) => record.dialled(result),
          onFirstByte: () => record.firstByte(),
          onFinished: (end) => this.#end(client, causeOf(end, client)),
        },
        (handler) => this.#options.streams.open(destination, handler, record.source),
        (handler) => attend(socket, handler),
      );
      client.splice = splice;
      record.streamOpened(splice.stream.id, splice.stream, splice);
      const header = proxyHeader(record);
      if (!header || splice.sendFirst(header)) socket.resume();
    } catch (thrown) {
      this.#drop(client, endedByHost({ code: errnoOf(thrown) ?? 'NOT_OPENED', message: messageOf(thrown) }));
    }
  }

  #end(client: Client, cause: Cause): void {
    this.#clients.delete(client);
    client.record.ended(cause);
    this.#options.crowd.leave();
  }

  // ---- without one -----------------------------------------------------------------------------------

  #noChannel(client: Client): void {
    const { by, message } = this.#options.streams.obstacle;
    const time = `${this.#options.holdMs / 1000} s`;
    this.#drop(client, {
      ...{ outcome: 'failed', by, how: 'timeout', code: 'NO_CHANNEL' },
      message: `${message}; the client has waited for ${time}`,
    });
  }

  #drop(client: Client, cause: Cause): void {
    client.socket.reset();
    this.#end(client, cause);
  }
}

/** Why a spliced connection ended. */
function causeOf(end: SpliceEnd, { splice, record }: Client): Cause {
  switch (end.how) {
    case 'closed':
      return closed(splice?.firstToEnd === 'socket' ? 'client' : 'server');
    case 'aborted':
      return endedByHost(end.reason);
    case 'socket-failed':
    case 'dial-failed':
      return clientFailed(end.reason);
    default:
      return streamEnded(end, formatDestination(record.forward.rule.destination));
  }
}

/** Where accepting cannot be paused; how many there are, and what to do, the log says. */
const TOO_MANY = {
  code: 'EMFILE',
  message: 'as many clients are being served as there are file descriptors for; raise the limit (ulimit -n)',
};

/** What tells the destination who the client is, where the forward asks for that. */
function proxyHeader({ forward: { rule }, source }: ConnectionRecord): Buffer | undefined {
  return rule.proto === 'tcp' && rule.proxyProtocol
    ? encodeProxyHeader(rule.proxyProtocol, source)
    : undefined;
}

function attend(socket: RawSocket, handler: SocketHandler): RawSocket {
  socket.setHandler(handler);
  return socket;
}
