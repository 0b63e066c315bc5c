import { ChannelKeeper, type ChannelMode, type KeeperState } from '../protocol/channel-keeper.js';
import { DeadlineQueue } from '../protocol/deadline-queue.js';
import type { EndpointRule } from '../protocol/endpoint-rule.js';
import { messageOf } from '../protocol/errors.js';
import { DIAL_TIMEOUT_MS, STOP_GRACE_MS } from '../protocol/limits.js';
import type { Logger } from '../protocol/program/logger.js';
import { SlabPool } from '../protocol/slab.js';
import type { SocketAddress } from '../protocol/socket/raw-socket.js';
import { Splice, type SpliceEnd } from '../protocol/splice.js';
import type { Stream } from '../protocol/stream.js';
import type { ChannelAddress } from '../protocol/transport/address.js';
import { connectablePath } from '../protocol/transport/unix-path.js';
import { formatDestination, formatHostPort } from '../protocol/wire/destination.js';
import type { Reason, Source } from '../protocol/wire/extension.js';
import { HostControl } from './host-control.js';

export interface AgentOptions {
  channel: { mode: ChannelMode; address: ChannelAddress };
  version: string;
  /** What may be dialled; without any rule everything may. */
  allowDial: readonly EndpointRule[];
  /** How long (ms) a dial may take. Default: DIAL_TIMEOUT_MS. */
  dialTimeoutMs?: number;
  logger: Logger;
}

/** The guest's end: keeps the channel, and dials what the host asks for. */
export class Agent {
  /** By which publishers ask the host for forwards. */
  readonly hostControl: HostControl;
  readonly #allowDial: readonly EndpointRule[];
  readonly #log: Logger;
  readonly #keeper: ChannelKeeper;
  readonly #splices = new Set<Splice>();
  readonly #dialling: DeadlineQueue<Splice>;

  constructor({ channel, version, allowDial, dialTimeoutMs = DIAL_TIMEOUT_MS, logger }: AgentOptions) {
    this.#dialling = new DeadlineQueue(dialTimeoutMs, (splice) => splice.dialTimedOut());
    this.#allowDial = allowDial;
    this.#log = logger;
    this.hostControl = new HostControl(logger);
    this.#keeper = new ChannelKeeper({
      ...channel,
      version,
      pool: new SlabPool(),
      logger,
      owner: {
        onUp: (multiplexer) => this.hostControl.onUp(multiplexer),
        onStream: (stream, source) => this.#serve(stream, source),
        onDown: () => this.hostControl.onDown(),
      },
    });
  }

  /** @throws OperationError when the channel's address cannot be listened on */
  start(): Promise<void> {
    return this.#keeper.start();
  }

  /** Lets what is in flight finish, then ends the channel. */
  async stop(): Promise<void> {
    const reason = { code: 'STOPPED', message: 'the guest was told to stop' };
    this.hostControl.close();
    await this.#keeper.stop(reason, STOP_GRACE_MS);
    for (const splice of this.#splices) splice.abort(reason);
  }

  get channel(): KeeperState {
    return this.#keeper.state;
  }

  /** The multiplexer's state as text, for people. */
  describe(): string {
    return this.#keeper.multiplexer?.describe() ?? 'no channel\n';
  }

  #serve(stream: Stream, source: Source | undefined): void {
    const { destination } = stream;
    const allowed = this.#allowDial.length === 0 || this.#allowDial.some((rule) => rule.allows(destination));
    if (!allowed) {
      this.#refuse(stream, 'policy', { code: 'EACCES', message: 'no rule of --allow-dial allows it' });
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
    );
    this.#splices.add(splice);
    this.#dialling.add(splice);
  }

  /** What to connect to; refuses the stream and returns nothing where there is no such thing. */
  #target(stream: Stream): SocketAddress | undefined {
    const { destination } = stream;
    if (destination.proto === 'unix') return this.#pathTarget(stream, destination.path);
    if (destination.proto === 'tcp') return { host: destination.ip, port: destination.port };
    const message = 'this version carries tcp and unix streams only';
    this.#refuse(stream, 'dial', { code: 'EPROTONOSUPPORT', message });
    return undefined;
  }

  #pathTarget(stream: Stream, path: string): SocketAddress | undefined {
    if (!path.startsWith('/')) {
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

  #refuse(stream: Stream, step: 'policy' | 'dial' | 'service', reason: Reason): void {
    this.#log.warn(
      { streamId: stream.id, destination: formatDestination(stream.destination), errno: reason.code },
      `refused to dial: ${reason.message}`,
    );
    stream.refuse(step, reason);
  }

  #finished(splice: Splice, source: Source | undefined, end: SpliceEnd): void {
    this.#splices.delete(splice);
    this.#dialling.delete(splice);
    const { id, destination } = splice.stream;
    const context = {
      streamId: id,
      destination: formatDestination(destination),
      ...(source?.client && { client: formatHostPort(source.client.ip, source.client.port) }),
    };
    if (end.how === 'dial-failed')
      this.#log.warn({ ...context, errno: end.reason.code }, `dial failed: ${end.reason.message}`);
    else if (end.how === 'socket-failed')
      this.#log.info({ ...context, code: end.reason.code }, `server gone: ${end.reason.message}`);
    else if (end.how === 'closed') this.#log.debug(context, 'connection closed');
    else if (end.how !== 'refused')
      this.#log.info(
        { ...context, code: end.reason.code },
        `connection to server reset: ${end.reason.message}`,
      );
  }
}
