import { hostname as hostnameHere } from 'node:os';
import { Deadline } from '../../protocol/deadline.js';
import { messageOf } from '../../protocol/errors.js';
import { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { Logger } from '../../protocol/program/logger.js';
import { textForPeople } from '../../protocol/services/text.js';
import type { Destination } from '../../protocol/wire/destination.js';
import type { DockerOptions } from './docker-options.js';
import { type Engine, EngineClient, type EngineEvent } from './engine.js';
import { EngineError, type EngineTrouble } from './engine-socket.js';
import { findLinkedGateways } from './links.js';
import { Afterwards, coalesced } from './pacing.js';
import { computePublication, type Remark } from './publication.js';
import { PublishedForwards, type PublishingLease } from './published.js';
import { Retries } from './retries.js';
import type { PublishRule } from './rules.js';
import type { SocketWatch } from './socket-watch.js';

export interface PublisherOptions {
  engine: Engine;
  /** Closed with the publisher. */
  lease: PublishingLease;
  rules: readonly PublishRule[];
  /** Whether the agent dials a destination if the host asks for it. */
  mayDial: (destination: Destination) => boolean;
  /** Whether it is worth a warning that the engine is not there at first. Default: true. */
  expected?: boolean;
  logger: Logger;
  /** What this machine is called. Default: as the system says. */
  hostname?: string;
  /** How long (ms) published ports stay when the engine has gone. Default: ENGINE_GRACE_MS. */
  graceMs?: number;
  /** The pauses (ms) between attempts to reach the engine. Default: BACKOFF_MS of Retries. */
  backoffMs?: readonly [first: number, last: number];
  /** When (ms) to look again after a container was connected to a network. Default: LOOK_AGAIN_MS. */
  lookAgainMs?: readonly number[];
  /** Notices when something happens to the engine's socket. Default: a SocketWatch as it is. */
  watchSocket?: (path: string) => SocketWatch;
  /** How old (ms) a list may be when a client comes. Default: STALE_LIST_MS. */
  staleListMs?: number;
  /** How long (ms) after a list the next one is read where events may not tell all. Default: RELIST_MS. */
  relistMs?: number;
}

/** Containers outlive a restart of dockerd with live-restore, and so should their ports. */
const ENGINE_GRACE_MS = 5_000;

/** An engine tells that a container is connected some moments before it lists the ports which that brings. */
const LOOK_AGAIN_MS = [100, 1_000] as const;

/**
 * An event that is lost, or an engine that has stalled, is found out when a client comes to a port that is published,
 * of whichever container; whoever comes to many costs a list every ten seconds.
 */
const STALE_LIST_MS = 10_000;

/** The same without a client, where the engine is podman: an idle machine is woken six times an hour. */
const RELIST_MS = 600_000;

/** Events of this long (s) before they are asked for are seen again: none is to fall in between. */
const EVENTS_OVERLAP_SECONDS = 2;

/** Remarks that are remembered, so that each is made once. */
const MAX_REMARKS = 10_000;

/** Lines of the log on them: containers that are not published as they are can come and go without end. */
const REMARKS_PER_MINUTE = 100;

/** Containers that are remembered to have died: far more than die while a list is made. Of more the oldest are forgotten. */
export const MAX_DEAD = 10_000;

/** The longest id of a container: dockerd's have 64 characters. */
const MAX_ID_LENGTH = 128;

/** What the host's list says of a port whose container nobody can be asked about. */
const DOUBTS: { readonly [trouble in EngineTrouble]?: string } = {
  silent: 'the Docker engine does not answer',
  faulty: 'the Docker engine answers with an error',
};

/** What publishing needs of the guest's agent. */
export interface PublishingAgent {
  readonly hostControl: { openLease(publisher: string): PublishingLease };
  /** Told of each stream that the host opens. */
  onServe: (() => void) | undefined;
  /** Whether it dials a destination if the host asks for it. */
  mayDial(destination: Destination): boolean;
}

/** Begins to publish what the Docker engine at a socket publishes, on a lease of the name `docker`. */
export function publishDocker(
  { socket, ...options }: DockerOptions,
  agent: PublishingAgent,
  logger: Logger,
): DockerPublisher {
  const publisher = new DockerPublisher({
    engine: new EngineClient(socket),
    lease: agent.hostControl.openLease('docker'),
    mayDial: (destination) => agent.mayDial(destination),
    ...options,
    logger,
  });
  agent.onServe = () => publisher.used();
  publisher.start();
  return publisher;
}

/**
 * Publishes on the host what a Docker engine publishes in the VM. Events say only that something has changed;
 * what is to be published is read anew from the list of containers each time, and without an event when it is
 * used, so that none that was lost leaves anything behind for long. Nothing is done while nothing happens. Ports go when the engine says so, or has gone; of
 * one that does not answer nobody knows what it would say, and its ports stay.
 */
export class DockerPublisher {
  readonly #options: PublisherOptions;
  readonly #published: PublishedForwards;
  readonly #limiter: LogLimiter;
  readonly #remarks: LogLimiter;
  readonly #stopping = new AbortController();
  /** Containers that have died, until the list has none of them: the engine lists them for a moment longer. */
  readonly #dead = new Set<string>();
  readonly #remarked = new Set<string>();
  readonly #retries: Retries;
  readonly #graceMs: number;
  /** Whether the log's last word is that the engine is there. */
  #reached = false;
  /** What the log has told of the present outage: of each trouble once. */
  readonly #told = new Set<EngineTrouble>();
  /** Until when the engine may be away. */
  #grace: Deadline | undefined;
  /** Lists again; undefined while there is no engine. */
  #listSoon: (() => void) | undefined;
  /** When (ms) the last list was asked for. */
  #listedAt = 0;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#published = new PublishedForwards(options.lease);
    this.#limiter = new LogLimiter(options.logger);
    this.#remarks = new LogLimiter(options.logger, { linesPerInterval: REMARKS_PER_MINUTE });
    if (options.expected === false) this.#told.add('gone');
    const { socket } = options.engine;
    this.#retries = new Retries(
      socket,
      options.backoffMs,
      (problem) =>
        this.#remark({
          level: 'info',
          text: `the folder of the Docker engine's socket ${socket} cannot be watched, and is looked at now and then: ${problem}`,
        }),
      options.watchSocket,
    );
    this.#graceMs = options.graceMs ?? ENGINE_GRACE_MS;
  }

  /** Begins, and goes on until stop(); an engine that is not there is waited for. */
  start(): void {
    void this.#run(this.#stopping.signal);
  }

  /** A client has come to a port in the VM. */
  used(): void {
    const { staleListMs = STALE_LIST_MS } = this.#options;
    if (this.#listSoon && performance.now() - this.#listedAt >= staleListMs) this.#listSoon();
  }

  /** Gives up everything that is published. */
  stop(): void {
    this.#stopping.abort();
    this.#retries.end();
    this.#grace?.end();
    this.#published.close();
    this.#limiter.flush();
    this.#remarks.flush();
  }

  async #run(stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) {
      const session = new AbortController();
      const { signal } = session;
      const stop = (): void => session.abort();
      stopping.addEventListener('abort', stop);
      const problem: unknown = await this.#follow(signal, (reason) => session.abort(reason)).catch(
        (thrown: unknown) => thrown,
      );
      stopping.removeEventListener('abort', stop);
      const reason = signal.reason ?? problem;
      if (!stopping.aborted) this.#lost(reason);
      // A list that is still awaited belongs to an engine that has gone.
      session.abort();
      if (stopping.aborted) return;
      await this.#retries.pause(reason instanceof EngineError && reason.unattended);
    }
  }

  /**
   * Publishes until the engine is lost.
   * @param giveUp aborts `signal` with the reason
   * @returns why it is lost, or throws that
   */
  async #follow(signal: AbortSignal, giveUp: (reason: unknown) => void): Promise<Error> {
    const { engine, lookAgainMs = LOOK_AGAIN_MS, relistMs = RELIST_MS } = this.#options;
    const since = Math.floor(Date.now() / 1000) - EVENTS_OVERLAP_SECONDS;
    // One that is known to be stalled is not asked again and again: it answers when it goes on.
    const events = await engine.openEvents(since, signal, this.#told.has('silent'));
    this.#dead.clear();
    const near = await this.#isNear(signal);
    let relistTimer: NodeJS.Timeout | undefined;
    const listSoon = coalesced(async () => {
      this.#listedAt = performance.now();
      await this.#list(near, signal);
      clearTimeout(relistTimer);
      if (!signal.aborted && !engine.tellsAll) relistTimer = setTimeout(listSoon, relistMs).unref();
    }, giveUp);
    this.#listSoon = listSoon;
    listSoon();
    const afterwards = new Afterwards(lookAgainMs, listSoon);
    signal.addEventListener('abort', () => {
      this.#listSoon = undefined;
      afterwards.end();
      clearTimeout(relistTimer);
    });
    for await (const event of events) {
      this.#note(event);
      listSoon();
      if (event.action === 'connect') afterwards.begin();
    }
    return new EngineError('ended', `the Docker engine at ${engine.socket} has ended its events`);
  }

  /** Whether the engine's networks are this agent's, too, as far as can be told: then containers can be dialled. */
  async #isNear(signal: AbortSignal): Promise<boolean> {
    const { engine, hostname: here = hostnameHere() } = this.#options;
    let why: string;
    try {
      const { hostname: there, rootless } = await engine.findHome(signal);
      if (!rootless && there === here) return true;
      why = rootless ? 'it is rootless' : `it runs on ${JSON.stringify(there)}, and this is ${here}`;
    } catch (thrown) {
      // If it is gone, the list will show it.
      why = messageOf(thrown);
    }
    this.#remark({
      level: 'info',
      text: `containers of the Docker engine at ${engine.socket} are dialled where their ports are published, not at their own addresses: ${why}`,
    });
    return false;
  }

  #note({ type, action, id }: EngineEvent): void {
    if (type !== 'container' || id.length > MAX_ID_LENGTH) return;
    if (action === 'die') this.#died(id);
    if (action === 'start') this.#dead.delete(id);
  }

  #died(id: string): void {
    const [oldest] = this.#dead;
    if (oldest !== undefined && this.#dead.size >= MAX_DEAD) this.#dead.delete(oldest);
    this.#dead.add(id);
  }

  async #list(near: boolean, signal: AbortSignal): Promise<void> {
    const { engine, rules, mayDial } = this.#options;
    const deadBefore = [...this.#dead];
    const containers = await engine.listContainers(signal);
    const linkedGateways = near ? await findLinkedGateways(containers) : new Set<string>();
    if (signal.aborted) return;
    this.#found();
    const listed = new Set(containers.map(({ id }) => id));
    for (const id of deadBefore) if (!listed.has(id)) this.#dead.delete(id);
    const alive = containers.filter(({ id }) => !this.#dead.has(id));
    const { forwards, remarks } = computePublication(alive, rules, { linkedGateways, mayDial });
    for (const remark of remarks) this.#remark(remark);
    this.#published.set(forwards);
  }

  #found(): void {
    this.#grace?.end();
    this.#grace = undefined;
    this.#retries.succeeded();
    this.#told.clear();
    if (this.#reached) return;
    this.#reached = true;
    this.#limiter.log(
      'info',
      'found',
      {},
      `the ports that the Docker engine at ${this.#options.engine.socket} publishes are published on the host`,
    );
  }

  #lost(thrown: unknown): void {
    if (!(thrown instanceof EngineError)) {
      this.#limiter.log('error', 'bug', { err: thrown }, "containers' ports cannot be published: a bug");
      return;
    }
    const { trouble, message } = thrown;
    // An engine that only broke off may be there again at once.
    if (trouble !== 'ended') this.#reached = false;
    if (trouble === 'gone' && !this.#published.empty && !this.#grace) {
      this.#grace = new Deadline(this.#graceMs);
      this.#grace.signal.addEventListener('abort', () => this.#gone());
    }
    const doubt = DOUBTS[trouble];
    if (doubt !== undefined) this.#published.doubt(doubt);
    this.#logLoss(trouble, `${message}; ${this.#prospect(trouble)}connecting again until it works`);
  }

  #logLoss(trouble: EngineTrouble, text: string): void {
    if (trouble === 'ended' || this.#told.has(trouble)) this.#options.logger.debug(text);
    else this.#limiter.log('warn', trouble, {}, text);
    this.#told.add(trouble);
  }

  #prospect(trouble: EngineTrouble): string {
    if (this.#published.empty) return '';
    if (trouble !== 'gone') return 'what is published stays; ';
    return `what is published goes unless it is back within ${this.#graceMs / 1000} s; `;
  }

  #gone(): void {
    const { engine, logger } = this.#options;
    logger.info(`the Docker engine at ${engine.socket} stays away: nothing is published for it any more`);
    this.#published.set([]);
  }

  #remark({ level, text }: Remark): void {
    const line = textForPeople(text);
    if (this.#remarked.has(line)) return;
    if (this.#remarked.size >= MAX_REMARKS) this.#remarked.clear();
    this.#remarked.add(line);
    this.#remarks.log(level, `remark ${level}`, {}, line);
  }
}
