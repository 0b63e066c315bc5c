import http from 'node:http';
import { errnoOf, messageOf, OperationError } from '../../protocol/errors.js';
import { connectablePath } from '../../protocol/transport/unix-path.js';
import { type Container, parseContainers } from './containers.js';

/** Something that has happened in the engine. */
export interface EngineEvent {
  type: string;
  action: string;
  /** Of what it has happened to: a container's id, where `type` is `container`. */
  id: string;
}

/** What the publisher needs of a Docker engine. */
export interface Engine {
  /** The path of its socket. */
  readonly socket: string;
  /** The containers that run or are paused. */
  listContainers(signal: AbortSignal): Promise<Container[]>;
  /** Begins to listen to its events, those since a time (s since 1970) included; they end when it goes. */
  openEvents(sinceSeconds: number, signal: AbortSignal): Promise<AsyncIterable<EngineEvent>>;
}

/**
 * How long (ms) an answer may take; events, once they have begun, may be far apart. An engine that starts
 * has its socket several seconds before it answers.
 */
const ANSWER_TIMEOUT_MS = 30_000;

/** What is read of an answer: a hundred thousand published ports fit into it. */
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;

/** An event is a line; they are far shorter, even with many labels. */
const MAX_EVENT_BYTES = 1024 * 1024;

/** What of an answer that is no success is put into the error. */
const MAX_MESSAGE_LENGTH = 300;

/** What errors of its socket mean, and what to do. */
const ADVICE: ReadonlyMap<string, readonly [what: string, next: string]> = new Map([
  ['ENOENT', ['there is no such socket', '; is dockerd running?']],
  ['ECONNREFUSED', ['nobody listens there', '; is dockerd running?']],
  ['EACCES', ['this user may not open it', '; run the agent as root, or as a member of the group docker']],
  ['ECONNRESET', ['it has broken the connection', '']],
]);

/** What can change which ports are published, or how their container is called. */
const EVENT_FILTERS = {
  type: ['container', 'network', 'daemon'],
  event: ['start', 'die', 'stop', 'destroy', 'rename', 'update', 'connect', 'disconnect', 'reload'],
};

/**
 * The few calls of the Docker Engine API that publishing needs. Without a version in the path every engine
 * answers, in the version that it likes best; what is read here has been the same in all of them.
 */
export class EngineClient implements Engine {
  readonly socket: string;
  readonly #timeoutMs: number;

  /** @param socket the path of its socket */
  constructor(socket: string, timeoutMs = ANSWER_TIMEOUT_MS) {
    this.socket = socket;
    this.#timeoutMs = timeoutMs;
  }

  /** @throws OperationError that names the engine's socket and the reason, also when `signal` is aborted */
  async listContainers(signal: AbortSignal): Promise<Container[]> {
    return this.#call('/containers/json', signal, async (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      for await (const chunk of response as AsyncIterable<Buffer>) {
        length += chunk.length;
        if (length > MAX_ANSWER_BYTES)
          throw new OperationError(`its answer is longer than ${MAX_ANSWER_BYTES} bytes`);
        chunks.push(chunk);
      }
      return parseContainers(parseJson(Buffer.concat(chunks).toString()));
    });
  }

  /** @throws OperationError as above; the events, when they break off */
  async openEvents(sinceSeconds: number, signal: AbortSignal): Promise<AsyncIterable<EngineEvent>> {
    const filters = encodeURIComponent(JSON.stringify(EVENT_FILTERS));
    const path = `/events?since=${sinceSeconds}&filters=${filters}`;
    const response = await this.#call(path, signal, async (response) => response);
    return this.#readEvents(response);
  }

  async *#readEvents(response: http.IncomingMessage): AsyncIterable<EngineEvent> {
    try {
      for await (const line of linesOf(response as AsyncIterable<Buffer>)) yield parseEvent(line);
    } catch (thrown) {
      throw this.#failure('/events', thrown);
    }
  }

  /** Makes a request and reads its answer, both within the time limit. */
  async #call<T>(
    path: string,
    signal: AbortSignal,
    read: (response: http.IncomingMessage) => Promise<T>,
  ): Promise<T> {
    let late: OperationError | undefined;
    try {
      const request = http.get({
        socketPath: connectablePath(this.socket),
        path,
        // The engine wants one; it makes no difference which.
        headers: { host: 'docker' },
        agent: false,
        signal,
      });
      const timer = setTimeout(() => {
        late = new OperationError(`it has not answered within ${this.#timeoutMs / 1000} s`);
        request.destroy(late);
      }, this.#timeoutMs);
      return await readAnswer(request, read).finally(() => clearTimeout(timer));
    } catch (thrown) {
      throw this.#failure(path, late ?? thrown);
    }
  }

  #failure(path: string, thrown: unknown): OperationError {
    const resource = path.replace(/\?.*/, '');
    return new OperationError(
      `the Docker engine at ${this.socket} cannot be asked for ${resource}: ${reasonOf(thrown)}`,
    );
  }
}

async function readAnswer<T>(
  request: http.ClientRequest,
  read: (response: http.IncomingMessage) => Promise<T>,
): Promise<T> {
  const response = await answerTo(request);
  if (response.statusCode === 200) return read(response);
  throw new OperationError(`it answers with ${response.statusCode}${await readMessage(response)}`);
}

function answerTo(request: http.ClientRequest): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on('response', resolve).on('error', reject);
  });
}

async function readMessage(response: http.IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response) {
    text += chunk;
    if (text.length > MAX_MESSAGE_LENGTH) break;
  }
  const line = text.trim().replace(/\s+/g, ' ').slice(0, MAX_MESSAGE_LENGTH);
  return line === '' ? '' : `: ${line}`;
}

async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncIterable<string> {
  let rest = '';
  for await (const chunk of chunks) {
    // Ids and types are ASCII; in a name that is cut here nobody is interested.
    const text = rest + chunk.toString('latin1');
    const end = text.lastIndexOf('\n') + 1;
    rest = text.slice(end);
    if (rest.length > MAX_EVENT_BYTES)
      throw new OperationError(`it has sent an event of more than ${MAX_EVENT_BYTES} bytes`);
    const lines = text.slice(0, end).split('\n');
    yield* lines.filter((line) => line.trim() !== '');
  }
}

function parseEvent(line: string): EngineEvent {
  const { Type: type, Action: action, Actor: actor } = (parseJson(line) ?? {}) as Record<string, unknown>;
  const id = (actor as Record<string, unknown> | undefined)?.['ID'];
  if (typeof type === 'string' && typeof action === 'string')
    return { type, action, id: typeof id === 'string' ? id : '' };
  throw new OperationError(`it has sent what is no event: ${line.slice(0, MAX_MESSAGE_LENGTH)}`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw new OperationError(`it has sent what is no JSON: ${messageOf(thrown)}`);
  }
}

function reasonOf(thrown: unknown): string {
  const errno = errnoOf(thrown) ?? '';
  const advice = ADVICE.get(errno);
  return advice === undefined ? messageOf(thrown) : `${advice[0]} (${errno})${advice[1]}`;
}
