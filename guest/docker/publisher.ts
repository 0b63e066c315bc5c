import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, OperationError } from '../../protocol/errors.js';
import type { Logger } from '../../protocol/program/logger.js';
import type { VpnkitPort } from '../../protocol/services/control.js';
import type { Lease, OpenLease } from '../publish/lease.js';
import type { DockerOptions } from './docker-options.js';
import { type Engine, EngineClient, type EngineEvent } from './engine.js';
import { Afterwards, coalesced } from './pacing.js';
import { computePublication, type Remark } from './publication.js';
import type { PublishRule } from './rules.js';

export interface PublisherOptions {
  engine: Engine;
  /** Closed with the publisher. */
  lease: Lease;
  rules: readonly PublishRule[];
  /** Whether it is worth a warning that the engine is not there at first. Default: true. */
  expected?: boolean;
  logger: Logger;
  /** How long (ms) published ports stay when the engine has gone. Default: ENGINE_GRACE_MS. */
  graceMs?: number;
  /** The pauses (ms) between attempts to reach the engine: the first, and the longest. */
  backoffMs?: readonly [first: number, longest: number];
  /** When (ms) to look again after a container was connected to a network. Default: LOOK_AGAIN_MS. */
  lookAgainMs?: readonly number[];
}

/** Containers outlive a restart of dockerd with live-restore, and so should their ports. */
const ENGINE_GRACE_MS = 5_000;

const BACKOFF_MS = [100, 2_000] as const;

/** An engine tells that a container is connected some moments before it lists the ports which that brings. */
const LOOK_AGAIN_MS = [100, 1_000] as const;

/** Events of this long (s) before they are asked for are seen again: none is to fall in between. */
const EVENTS_OVERLAP_SECONDS = 2;

/** No forwards, as JSON. */
const NOTHING = '[]';

/** Remarks that are remembered, so that each is made once. */
const MAX_REMARKS = 10_000;

/** Begins to publish what the Docker engine at a socket publishes, on a lease of the name `docker`. */
export function publishDocker(
  { socket, ...options }: DockerOptions,
  openLease: OpenLease,
  logger: Logger,
): DockerPublisher {
  const engine = new EngineClient(socket);
  const publisher = new DockerPublisher({ engine, lease: openLease('docker'), ...options, logger });
  publisher.start();
  return publisher;
}

/**
 * Publishes on the host what a Docker engine publishes in the VM. Events say only that something has changed;
 * what is to be published is read anew from the list of containers each time, so that no event that was lost
 * leaves anything behind.
 */
export class DockerPublisher {
  readonly #options: PublisherOptions;
  readonly #stopping = new AbortController();
  /** Containers that have died, until the list has none of them: the engine lists them for a moment longer. */
  readonly #dead = new Set<string>();
  readonly #remarked = new Set<string>();
  readonly #backoff: readonly [first: number, longest: number];
  #pauseMs: number;
  /** The forwards that the lease was told last, as JSON. */
  #published = NOTHING;
  /** Whether the engine has answered with its containers since it was lost. */
  #reached = false;
  /** Whether the present outage has been logged: each is logged once. */
  #outageLogged: boolean;
  #graceTimer: NodeJS.Timeout | undefined;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#outageLogged = options.expected === false;
    this.#backoff = options.backoffMs ?? BACKOFF_MS;
    [this.#pauseMs] = this.#backoff;
  }

  /** Begins, and goes on until stop(); an engine that is not there is waited for. */
  start(): void {
    void this.#run(this.#stopping.signal);
  }

  /** Gives up everything that is published. */
  stop(): void {
    this.#stopping.abort();
    clearTimeout(this.#graceTimer);
    this.#options.lease.close();
  }

  async #run(stopping: AbortSignal): Promise<void> {
    const [, longestMs] = this.#backoff;
    while (!stopping.aborted) {
      const session = new AbortController();
      const { signal } = session;
      const stop = (): void => session.abort();
      stopping.addEventListener('abort', stop);
      const problem: unknown = await this.#follow(signal, (reason) => session.abort(reason)).catch(
        (thrown: unknown) => thrown,
      );
      stopping.removeEventListener('abort', stop);
      if (!stopping.aborted) this.#lost(messageOf(signal.reason ?? problem));
      // A list that is still awaited belongs to an engine that has gone.
      session.abort();
      // Only stop() makes it fail, which the loop sees.
      await delay(this.#pauseMs, undefined, { signal: stopping }).catch(() => undefined);
      this.#pauseMs = Math.min(this.#pauseMs * 2, longestMs);
    }
  }

  /**
   * Publishes until the engine is lost.
   * @param giveUp aborts `signal` with the reason
   * @returns why it is lost, or throws that
   */
  async #follow(signal: AbortSignal, giveUp: (reason: unknown) => void): Promise<Error> {
    const { engine, lookAgainMs = LOOK_AGAIN_MS } = this.#options;
    const events = await engine.openEvents(Math.floor(Date.now() / 1000) - EVENTS_OVERLAP_SECONDS, signal);
    this.#dead.clear();
    const listSoon = coalesced(() => this.#list(signal), giveUp);
    listSoon();
    const afterwards = new Afterwards(lookAgainMs, listSoon);
    signal.addEventListener('abort', () => afterwards.end());
    for await (const event of events) {
      this.#note(event);
      listSoon();
      if (event.action === 'connect') afterwards.begin();
    }
    return new OperationError(`the Docker engine at ${engine.socket} has ended its events`);
  }

  #note({ type, action, id }: EngineEvent): void {
    if (type !== 'container') return;
    if (action === 'die') this.#dead.add(id);
    if (action === 'start') this.#dead.delete(id);
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { engine, rules } = this.#options;
    const deadBefore = [...this.#dead];
    const containers = await engine.listContainers(signal);
    if (signal.aborted) return;
    this.#found();
    const listed = new Set(containers.map(({ id }) => id));
    for (const id of deadBefore) if (!listed.has(id)) this.#dead.delete(id);
    const alive = containers.filter(({ id }) => !this.#dead.has(id));
    const { forwards, remarks } = computePublication(alive, rules);
    for (const remark of remarks) this.#remark(remark);
    this.#publish(forwards);
  }

  #found(): void {
    clearTimeout(this.#graceTimer);
    this.#graceTimer = undefined;
    [this.#pauseMs] = this.#backoff;
    if (this.#reached) return;
    this.#reached = true;
    this.#outageLogged = false;
    const { engine, logger } = this.#options;
    logger.info(`the ports that the Docker engine at ${engine.socket} publishes are published on the host`);
  }

  #lost(reason: string): void {
    const { logger, graceMs = ENGINE_GRACE_MS } = this.#options;
    const next =
      this.#published === NOTHING
        ? ''
        : `what is published goes unless it is back within ${graceMs / 1000} s; `;
    logger[this.#outageLogged ? 'debug' : 'warn'](`${reason}; ${next}connecting again until it works`);
    this.#outageLogged = true;
    this.#reached = false;
    this.#graceTimer ??= setTimeout(() => this.#publish([]), graceMs);
  }

  #publish(forwards: readonly VpnkitPort[]): void {
    const text = JSON.stringify(forwards);
    if (text === this.#published) return;
    this.#published = text;
    this.#options.lease.publish(forwards);
  }

  #remark({ level, text }: Remark): void {
    if (this.#remarked.has(text)) return;
    if (this.#remarked.size >= MAX_REMARKS) this.#remarked.clear();
    this.#remarked.add(text);
    this.#options.logger[level](text);
  }
}
