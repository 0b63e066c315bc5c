import { DatagramBudget } from '../../protocol/datagram-stream.js';
import { DeadlineQueue } from '../../protocol/deadline-queue.js';
import type { EndpointRule } from '../../protocol/endpoint-rule.js';
import { messageOf } from '../../protocol/errors.js';
import { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { Logger, LogLevel } from '../../protocol/program/logger.js';
import { textForPeople } from '../../protocol/services/text.js';
import type { Connect } from '../../protocol/socket/connect-socket.js';
import type { SocketAddress } from '../../protocol/socket/raw-socket.js';
import { resetWord } from '../../protocol/socket/reset-word.js';
import { Splice, type SpliceEnd } from '../../protocol/splice.js';
import type { Stream, StreamEnd } from '../../protocol/stream.js';
import { connectablePath } from '../../protocol/transport/unix-path.js';
import {
  type Destination,
  formatDestination,
  formatHostPort,
  isService,
} from '../../protocol/wire/destination.js';
import type { Reason, Source } from '../../protocol/wire/extension.js';
import { type UdpDestination, UdpDial } from './udp-dial.js';

/** How long (ms) the guest's dial may take; an OS tries for minutes, and the client would not know why. */
const DIAL_TIMEOUT_MS = 20_000;

export interface DiallerOptions {
  /** What may be dialled; without any rule everything may. */
  allowDial: readonly EndpointRule[];
  /** How long (ms) a dial may take. Default: DIAL_TIMEOUT_MS. */
  dialTimeoutMs?: number;
  /** Makes the connections of TCP and unix destinations. Default: connectSocket. */
  connect?: Connect;
  logger: Logger;
}

/** Dials the destinations of the streams that the host opens, and joins each to its stream. */
export class Dialler {
  readonly #allowDial: readonly EndpointRule[];
  readonly #connect: Connect | undefined;
  readonly #log: Logger;
  /** Of all that fails: the host, and whoever reaches it, can make that happen again and again. */
  readonly #failures: LogLimiter;
  readonly #splices = new Set<Splice>();
  readonly #dialling: DeadlineQueue<Splice>;
  readonly #udpDials = new Set<UdpDial>();
  readonly #datagramBudget = new DatagramBudget();

  constructor({ allowDial, dialTimeoutMs = DIAL_TIMEOUT_MS, connect, logger }: DiallerOptions) {
    this.#connect = connect;
    this.#dialling = new DeadlineQueue(dialTimeoutMs, (splice) => splice.dialTimedOut());
    this.#allowDial = allowDial;
    this.#log = logger;
    this.#failures = new LogLimiter(logger);
  }

  /** Ends the UDP flows: a flow has no end that could be waited for. */
  endFlows(reason: Reason): void {
    for (const flow of this.#udpDials) flow.end(reason);
  }

  /** Breaks every connection that is left. */
  abort(reason: Reason): void {
    for (const splice of this.#splices) splice.abort(reason);
    this.#failures.flush();
  }

  /** Whether a destination is dialled if the host asks for it. */
  mayDial(destination: Destination): boolean {
    return this.#allowDial.length === 0 || this.#allowDial.some((rule) => rule.allows(destination));
  }

  /** Takes a stream that the host has opened. */
  serve(stream: Stream, source: Source | undefined): void {
    const { destination } = stream;
    if (!this.mayDial(destination)) {
      this.#refuse(stream, 'policy', { code: 'EACCES', message: 'no rule of --allow-dial allows it' });
      return;
    }
    if (destination.proto === 'udp') {
      this.#serveUdp(stream, destination, source);
      return;
    }
    const target = this.#target(stream);
    if (!target) return;
    const connected = (): void => this.#dialling.delete(splice);
    const splice = Splice.dial(
      {
        onConnected: connected,
        onOpenResult: connected,
        onFinished: (end) => this.#finished(splice, source, end),
      },
      stream,
      target,
      this.#connect,
    );
    this.#splices.add(splice);
    this.#dialling.add(splice);
  }

  /** What to connect to; refuses the stream and returns nothing where there is no such thing. */
  #target(stream: Stream): SocketAddress | undefined {
    const { destination } = stream;
    if (destination.proto === 'unix') return this.#pathTarget(stream, destination.path);
    return { host: destination.ip, port: destination.port };
  }

  #pathTarget(stream: Stream, path: string): SocketAddress | undefined {
    if (isService(stream.destination)) {
      this.#refuse(stream, 'service', { code: 'ENOENT', message: `the guest has no service ${path}` });
      return undefined;
    }
    try {
      return { path: connectablePath(path) };
    } catch (thrown) {
      this.#refuse(stream, 'dial', { code: 'ENAMETOOLONG', message: messageOf(thrown) });
      return undefined;
    }
  }

  #serveUdp(stream: Stream, to: UdpDestination, source: Source | undefined): void {
    const context = contextOf(stream, source);
    const flow = new UdpDial(
      {
        onRefused: ({ code, message }) => {
          this.#udpDials.delete(flow);
          this.#logFailure('warn', { ...context, errno: code }, code, `dial failed: ${message}`);
        },
        onTrouble: ({ code, message }) =>
          // That nobody listens may be over soon, and is the rule where servers come and go.
          this.#logFailure(
            code === 'ECONNREFUSED' ? 'debug' : 'info',
            { ...context, code },
            code,
            `${message}; the flow goes on, and this is said once of it`,
          ),
        onFinished: (end) => this.#udpFinished(flow, context, end),
      },
      this.#datagramBudget,
      stream,
      to,
    );
    this.#udpDials.add(flow);
    flow.dial();
  }

  #udpFinished(flow: UdpDial, context: StreamContext, end: StreamEnd): void {
    this.#udpDials.delete(flow);
    const { dropped } = flow;
    if (end.how === 'reset' && end.reason.code === 'BAD_DATAGRAM') {
      const { code, message } = end.reason;
      this.#logFailure('warn', { ...context, code, dropped }, code, `flow reset: ${message}`);
    } else this.#log.debug({ ...context, dropped }, 'flow ended');
  }

  #refuse(stream: Stream, step: 'policy' | 'dial' | 'service', reason: Reason): void {
    const { code, message } = reason;
    const context = { ...contextOf(stream, undefined), errno: code };
    this.#logFailure('warn', context, code, `refused to dial: ${message}`);
    stream.refuse(step, reason);
  }

  #finished(splice: Splice, source: Source | undefined, end: SpliceEnd): void {
    this.#splices.delete(splice);
    this.#dialling.delete(splice);
    const context = contextOf(splice.stream, source);
    if (end.how === 'closed') this.#log.debug(context, 'connection closed');
    else if (end.how !== 'refused') {
      const { code, message } = end.reason;
      if (end.how === 'dial-failed')
        this.#logFailure(
          'warn',
          { ...context, errno: code },
          code,
          `dial failed: ${message}${adviceOn(code)}`,
        );
      else {
        const reset = `connection to server ${resetWord(splice.stream.destination.proto)}`;
        const what = end.how === 'socket-failed' ? 'server gone' : reset;
        this.#logFailure('info', { ...context, code }, code, `${what}: ${message}`);
      }
    }
  }

  /** Failures of one destination with one code count as equal. */
  #logFailure(
    level: LogLevel,
    context: StreamContext & Record<string, unknown>,
    code: string,
    message: string,
  ): void {
    // Paths and reasons are of the host's choosing.
    this.#failures.log(level, `${level} ${context.destination} ${code}`, context, textForPeople(message));
  }
}

interface StreamContext {
  streamId: number;
  destination: string;
  client?: string;
}

/** What can be done about the usual failures; the host's log and its doctor know the forward. */
function adviceOn(code: string): string {
  const advice: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'nothing listens there: start the server, or correct the forward',
    ENOENT: 'there is no such socket: start the server, or correct the forward',
    EHOSTUNREACH: 'there is no way to it from here: check that machine, and the routes',
    ENETUNREACH: 'there is no way to it from here: check the routes',
    ETIMEDOUT: 'nothing answers there: check that machine, and the firewalls on the way',
  };
  return Object.hasOwn(advice, code) ? `; ${advice[code]}` : '';
}

/** What log lines say of a stream. */
function contextOf({ id, destination }: Stream, source: Source | undefined): StreamContext {
  return {
    streamId: id,
    destination: formatDestination(destination),
    ...(source?.client && { client: formatHostPort(source.client.ip, source.client.port) }),
  };
}
