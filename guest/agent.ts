import { ChannelKeeper, type KeeperState, STOP_GRACE_MS } from '../protocol/channel/channel-keeper.js';
import { FrameLog } from '../protocol/channel/frame-log.js';
import type { EndpointRule } from '../protocol/endpoint-rule.js';
import { FrameRing } from '../protocol/frame-ring.js';
import type { Logger } from '../protocol/program/logger.js';
import { startProgramSockets } from '../protocol/program/program-sockets.js';
import { INSPECT_SERVICE } from '../protocol/services/inspect.js';
import { SlabPool } from '../protocol/slab.js';
import type { Stream } from '../protocol/stream.js';
import type { ChannelAddress, ChannelMode } from '../protocol/transport/channel-address.js';
import type { Destination } from '../protocol/wire/destination.js';
import type { Source } from '../protocol/wire/extension.js';
import { Dialler } from './dial/dialler.js';
import type { EngineReader } from './inspect/engine-containers.js';
import { InspectServer } from './inspect/inspect-server.js';
import { HostControl } from './publish/host-control.js';

export interface AgentOptions {
  channel: { mode: ChannelMode; address: ChannelAddress };
  version: string;
  /** What may be dialled; without any rule everything may. */
  allowDial: readonly EndpointRule[];
  /** Seconds of silence after which the system asks whether a TCP peer is there; 0: never. Absent: 15. */
  keepAliveSeconds?: number;
  /** How long (ms) a dial may take. */
  dialTimeoutMs?: number;
  /** Which engine is asked when the host wants to know what lies behind a port. */
  engine?: EngineReader;
  logger: Logger;
}

/** The guest's end: keeps the channel, dials what the host asks for, and asks the host for forwards. */
export class Agent {
  /** By which publishers ask the host for forwards. */
  readonly hostControl: HostControl;
  /** Told of each stream that the host opens. */
  onServe: (() => void) | undefined;
  readonly #log: Logger;
  readonly #keepAliveSeconds: number | undefined;
  readonly #dialler: Dialler;
  readonly #inspectServer: InspectServer;
  readonly #keeper: ChannelKeeper;

  constructor({ channel, version, logger, keepAliveSeconds, engine, ...dialling }: AgentOptions) {
    this.#log = logger;
    this.#keepAliveSeconds = keepAliveSeconds;
    this.#dialler = new Dialler({ ...dialling, logger });
    this.#inspectServer = new InspectServer({ engine });
    this.hostControl = new HostControl(logger);
    this.#keeper = new ChannelKeeper({
      ...channel,
      version,
      pool: new SlabPool(),
      frames: new FrameRing(Date.now, new FrameLog(logger)),
      logger,
      owner: {
        onUp: (multiplexer) => this.hostControl.onUp(multiplexer),
        onStream: (stream, source) => this.#onStream(stream, source),
        onDown: () => this.hostControl.onDown(),
      },
    });
  }

  /** @throws OperationError when the channel's address cannot be listened on */
  async start(): Promise<void> {
    await startProgramSockets(this.#log, this.#keepAliveSeconds);
    await this.#keeper.start();
  }

  /**
   * Only of stdio:, where no channel follows the first: resolves when that has ended in good order.
   * @throws OperationError with the reason when it has ended otherwise
   */
  get over(): Promise<void> {
    return this.#keeper.over;
  }

  /** Lets what is in flight finish, then ends the channel. */
  async stop(): Promise<void> {
    const reason = { code: 'STOPPED', message: 'the guest was told to stop' };
    this.hostControl.close();
    this.#inspectServer.close();
    this.#dialler.endFlows(reason);
    await this.#keeper.stop(reason, STOP_GRACE_MS);
    this.#dialler.abort(reason);
  }

  /** Whether the host may have it dial a destination. */
  mayDial(destination: Destination): boolean {
    return this.#dialler.mayDial(destination);
  }

  /** Breaks what is in flight, for the end of the process at once: the OS would end servers' connections cleanly. */
  abandon(): void {
    this.#dialler.abort({ code: 'STOPPED', message: 'the guest was told to end at once' });
  }

  get channel(): KeeperState {
    return this.#keeper.state;
  }

  /** The multiplexer's state as text, for people. */
  describe(): string {
    return this.#keeper.multiplexer?.describe() ?? 'no channel\n';
  }

  #onStream(stream: Stream, source: Source | undefined): void {
    const { destination } = stream;
    if (destination.proto === 'unix' && destination.path === INSPECT_SERVICE)
      this.#inspectServer.accept(stream);
    else {
      this.#dialler.serve(stream, source);
      this.onServe?.();
    }
  }
}
