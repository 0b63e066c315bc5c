import type http from 'node:http';
import { ByteCollector } from '../../protocol/byte-collector.js';
import { OperationError } from '../../protocol/errors.js';
import { fieldsOf, listOf, parseJson, readJson, textOf } from '../engine-answer.js';
import { type Container, parseContainers } from './containers.js';
import { EngineSocket } from './engine-socket.js';
import { withPodmanPorts } from './podman.js';

/** Something that has happened in the engine. */
export interface EngineEvent {
  type: string;
  action: string;
  /** Of what it has happened to: a container's id, where `type` is `container`. */
  id: string;
}

/** Where an engine runs, as far as it says so. */
export interface EngineHome {
  /** The name of its machine. */
  hostname: string;
  /** Its containers' networks are in a namespace of their own. */
  rootless: boolean;
}

/** What the publisher needs of a Docker engine. Each call throws an EngineError. */
export interface Engine {
  /** The path of its socket. */
  readonly socket: string;
  /** The containers that run or are paused. */
  listContainers(signal: AbortSignal): Promise<Container[]>;
  /** Whether its events tell of every change, as far as is known. */
  readonly tellsAll: boolean;
  /**
   * Begins to listen to its events, those since a time (s since 1970) included; they end when it goes.
   * @param patient waits for them however long it takes
   */
  openEvents(
    sinceSeconds: number,
    signal: AbortSignal,
    patient?: boolean,
  ): Promise<AsyncIterable<EngineEvent>>;
  findHome(signal: AbortSignal): Promise<EngineHome>;
}

/**
 * How long (ms) an answer may take; events, once they have begun, may be far apart. An engine that starts
 * has its socket several seconds before it answers.
 */
const ANSWER_TIMEOUT_MS = 30_000;

/** An event is a line; they are far shorter, even with many labels. */
const MAX_EVENT_BYTES = 1024 * 1024;

/** What of an event that is none is put into the error. */
const MAX_SHOWN_LENGTH = 300;

/** What can change which ports are published, or how their container is called; podman has other words for some. */
const EVENT_FILTERS = {
  type: ['container', 'network', 'daemon'],
  event: [
    ...['start', 'die', 'died', 'stop', 'destroy', 'remove', 'rename', 'update'],
    ...['connect', 'disconnect', 'reload'],
  ],
};

/** podman's name for what is `die` elsewhere; whether its API translates it depends on its version. */
const DIED = 'died';

/** podman lists no containers that are paused unless it is asked for them. */
const PODMAN_LIST_QUERY = `?filters=${encodeURIComponent('{"status":["running","paused"]}')}`;

/** The part of podman's version that goes into the paths of its own API. */
const PODMAN_VERSION = /^\d+(\.\d+){1,2}/;

/**
 * The few calls of the Docker Engine API that publishing needs. Without a version in the path every engine
 * answers, in the version that it likes best; what is read here has been the same in all of them.
 */
export class EngineClient implements Engine {
  readonly #engine: EngineSocket;
  readonly #timeoutMs: number;
  /** Where it is no dockerd but podman, as it has said when it was asked for events. */
  #podmanVersion: string | undefined;

  /** @param socket the path of its socket */
  constructor(socket: string, timeoutMs = ANSWER_TIMEOUT_MS) {
    this.#timeoutMs = timeoutMs;
    this.#engine = new EngineSocket(socket, timeoutMs);
  }

  get socket(): string {
    return this.#engine.path;
  }

  /** podman's events come from a log that it follows, in words that depend on its version. */
  get tellsAll(): boolean {
    return this.#podmanVersion === undefined;
  }

  async listContainers(signal: AbortSignal): Promise<Container[]> {
    if (this.#podmanVersion !== undefined) return this.#listPodman(this.#podmanVersion, signal);
    return this.#engine.get('/containers/json', signal, async (response) =>
      parseContainers(await readJson(response)),
    );
  }

  /** podman is asked for its own list, too: the one for Docker's clients has but the first port of a range. */
  async #listPodman(version: string, signal: AbortSignal): Promise<Container[]> {
    const own = await this.#engine.get(
      `/v${version}/libpod/containers/json${PODMAN_LIST_QUERY}`,
      signal,
      readJson,
    );
    return this.#engine.get(`/containers/json${PODMAN_LIST_QUERY}`, signal, async (response) =>
      parseContainers(withPodmanPorts(await readJson(response), own)),
    );
  }

  /** The events, too, throw an EngineError, when they break off. */
  async openEvents(
    sinceSeconds: number,
    signal: AbortSignal,
    patient = false,
  ): Promise<AsyncIterable<EngineEvent>> {
    const filters = encodeURIComponent(JSON.stringify(EVENT_FILTERS));
    const resource = `/events?since=${sinceSeconds}&filters=${filters}`;
    const timeoutMs = patient ? Number.POSITIVE_INFINITY : this.#timeoutMs;
    const response = await this.#engine.get(resource, signal, async (response) => response, timeoutMs);
    this.#podmanVersion = podmanVersionOf(response);
    return this.#readEvents(resource, response);
  }

  async *#readEvents(resource: string, response: http.IncomingMessage): AsyncIterable<EngineEvent> {
    try {
      for await (const line of linesOf(response as AsyncIterable<Buffer>)) yield parseEvent(line);
    } catch (thrown) {
      throw this.#engine.failure(resource, thrown);
    }
  }

  findHome(signal: AbortSignal): Promise<EngineHome> {
    return this.#engine.get('/info', signal, async (response) => parseHome(await readJson(response)));
  }
}

function podmanVersionOf({ headers }: http.IncomingMessage): string | undefined {
  const version = headers['libpod-api-version'];
  return typeof version === 'string' ? PODMAN_VERSION.exec(version)?.[0] : undefined;
}

/** Docker lists `rootless` among its security options, podman has a field for it. */
function parseHome(answer: unknown): EngineHome {
  const { Name: name, SecurityOptions: options, Rootless: rootless } = fieldsOf(answer);
  return {
    hostname: textOf(name),
    rootless: rootless === true || listOf(options).includes('name=rootless'),
  };
}

async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncIterable<string> {
  const rest = new ByteCollector();
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf('\n') + 1;
    if (end > 0) {
      rest.append(chunk.subarray(0, end));
      // Ids and types are ASCII; in names nobody is interested.
      const lines = rest.take().toString('latin1').split('\n');
      yield* lines.filter((line) => line.trim() !== '');
    }
    rest.append(chunk.subarray(end));
    if (rest.length > MAX_EVENT_BYTES)
      throw new OperationError(`it has sent an event of more than ${MAX_EVENT_BYTES} bytes`);
  }
}

function parseEvent(line: string): EngineEvent {
  const { Type: type, Action: action, Actor: actor } = fieldsOf(parseJson(line));
  const id = textOf(fieldsOf(actor)['ID']);
  if (typeof type === 'string' && typeof action === 'string')
    return { type, action: action === DIED ? 'die' : action, id };
  throw new OperationError(`it has sent what is no event: ${line.slice(0, MAX_SHOWN_LENGTH)}`);
}
