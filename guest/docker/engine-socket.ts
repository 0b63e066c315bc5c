import http from 'node:http';
import { Deadline } from '../../protocol/deadline.js';
import { errnoOf, messageOf, OperationError } from '../../protocol/errors.js';
import { connectablePath } from '../../protocol/transport/unix-path.js';

/**
 * What is to be thought of an engine that could not be asked:
 * - `gone`: nobody answers at its socket;
 * - `silent`: it is there, and has not answered in time;
 * - `faulty`: it has answered, with an error or with what cannot be understood;
 * - `ended`: it broke off; whether it is gone the next attempt will tell.
 */
export type EngineTrouble = 'gone' | 'silent' | 'faulty' | 'ended';

/** The engine could not be asked, or its answer is none; the message names its socket, and says why. */
export class EngineError extends OperationError {
  override name = 'EngineError';
  readonly trouble: EngineTrouble;
  /** Nobody is at its socket: when that changes, something happens to the socket's path. */
  readonly unattended: boolean;

  constructor(trouble: EngineTrouble, message: string, unattended = false) {
    super(message);
    this.trouble = trouble;
    this.unattended = unattended;
  }
}

/** What of an answer that is no success is put into the error. */
const MAX_MESSAGE_LENGTH = 300;

/** With others somebody takes the connection, who stands between us and the engine, and breaks it. */
const UNATTENDED: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ECONNREFUSED', 'EACCES']);

/** What errors of its socket mean, and what to do. */
const ADVICE: ReadonlyMap<string, readonly [what: string, next: string]> = new Map([
  ['ENOENT', ['there is no such socket', '; is dockerd running?']],
  ['ECONNREFUSED', ['nobody listens there', '; is dockerd running?']],
  ['EACCES', ['this user may not open it', '; run the agent as root, or as a member of the group docker']],
  ['ECONNRESET', ['it has broken the connection', '']],
  ['EAGAIN', ['it takes no more connections', '; is dockerd stalled?']],
]);

/** Makes requests to the API of a Docker engine, or of podman, on its unix socket. */
export class EngineSocket {
  readonly path: string;
  readonly #timeoutMs: number;

  /** @param timeoutMs how long an answer may take, to the end of what get() reads of it */
  constructor(path: string, timeoutMs: number) {
    this.path = path;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Makes a request and reads its answer, both within the time limit.
   * @param resource path and query
   * @param timeoutMs another time limit than the usual one; it may be Infinity
   * @throws EngineError, also when `signal` is aborted, or `read` throws
   */
  async get<T>(
    resource: string,
    signal: AbortSignal,
    read: (response: http.IncomingMessage) => Promise<T>,
    timeoutMs = this.#timeoutMs,
  ): Promise<T> {
    let late: OperationError | undefined;
    let answered = false;
    try {
      const request = http.get({
        socketPath: connectablePath(this.path),
        path: resource,
        // The engine wants one; it makes no difference which.
        headers: { host: 'docker' },
        agent: false,
        signal,
      });
      request.on('response', () => {
        answered = true;
      });
      const onLate = (): void => {
        late = new OperationError(`it has not answered within ${timeoutMs / 1000} s`);
        request.destroy(late);
      };
      const deadline = Number.isFinite(timeoutMs) ? new Deadline(timeoutMs) : undefined;
      deadline?.signal.addEventListener('abort', onLate);
      return await readAnswer(request, read).finally(() => deadline?.end());
    } catch (thrown) {
      if (late) throw this.failure(resource, late, 'silent');
      throw this.failure(resource, thrown, answered ? troubleInAnswer(thrown) : troubleAtDoor(thrown));
    }
  }

  /** @param trouble by default what is to be thought when it happens in the midst of an answer */
  failure(resource: string, thrown: unknown, trouble: EngineTrouble = troubleInAnswer(thrown)): EngineError {
    const [path] = resource.split('?');
    return new EngineError(
      trouble,
      `the Docker engine at ${this.path} cannot be asked for ${path}: ${reasonOf(thrown)}`,
      trouble === 'gone' && UNATTENDED.has(errnoOf(thrown) ?? ''),
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

/** A socket whose backlog is full has an owner, who does not come to the door. */
function troubleAtDoor(thrown: unknown): EngineTrouble {
  return errnoOf(thrown) === 'EAGAIN' ? 'silent' : 'gone';
}

function troubleInAnswer(thrown: unknown): EngineTrouble {
  return errnoOf(thrown) === undefined ? 'faulty' : 'ended';
}

function reasonOf(thrown: unknown): string {
  const errno = errnoOf(thrown) ?? '';
  const advice = ADVICE.get(errno);
  return advice === undefined ? messageOf(thrown) : `${advice[0]} (${errno})${advice[1]}`;
}
