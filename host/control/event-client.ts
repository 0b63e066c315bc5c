import type { IncomingMessage } from 'node:http';
import net from 'node:net';
import { addAbortSignal } from 'node:stream';
import { WebSocket } from 'ws';
import { OperationError } from '../../protocol/errors.js';
import { readBody } from '../../protocol/services/http-body.js';
import { connectablePath } from '../../protocol/transport/unix-path.js';
import type { HostEvent } from '../records/event.js';
import { describeUnreachable, messageIn } from './client.js';

/** How long (ms) a host may take to answer that it tells events. */
const ANSWER_TIMEOUT_MS = 30_000;

/** The longest event (bytes): traffic of as many forwards as a host may have. */
const MAX_EVENT_BYTES = 16 * 1024 * 1024;

/** What is read (bytes) of an answer that says why not. */
const MAX_REFUSAL_BYTES = 64 * 1024;

/** How a host stopped telling, in words. */
export type Goodbye = string;

/**
 * Reads a host's events until it ends that, or `stop` is aborted.
 * @param query as `/v1/events` has it
 * @param onEvent told each event; the first is `hello`
 * @returns how it ended; undefined when `stop` was aborted
 * @throws OperationError when the host cannot be reached, or refuses
 */
export async function readEvents(
  path: string,
  query: URLSearchParams,
  stop: AbortSignal,
  onEvent: (event: HostEvent) => void,
): Promise<Goodbye | undefined> {
  // A path may have a colon in it, and be too long: so it is not in the address.
  const socketPath = connectablePath(path);
  const socket = new WebSocket(`ws://localhost/v1/events?${query}`, {
    createConnection: () => net.connect(socketPath),
    handshakeTimeout: ANSWER_TIMEOUT_MS,
    maxPayload: MAX_EVENT_BYTES,
    perMessageDeflate: false,
  });
  const onStop = (): void => socket.terminate();
  stop.addEventListener('abort', onStop);
  try {
    return await new Promise((resolve, reject) => {
      let greeted = false;
      socket.on('unexpected-response', (_request, response) => {
        refusalOf(response, path).then(reject, reject);
      });
      socket.on('error', (error) => {
        // Later on it is told by a close.
        if (!greeted) reject(describeUnreachable(path, error));
      });
      socket.on('message', (data) => {
        greeted = true;
        try {
          onEvent(JSON.parse(String(data)) as HostEvent);
        } catch {
          reject(
            new OperationError(`what answers on ${path} is no portferry host: it tells what is no event`),
          );
        }
      });
      socket.on('close', (_code, reason) =>
        resolve(stop.aborted ? undefined : reason.toString() || 'the connection was lost'),
      );
    });
  } finally {
    stop.removeEventListener('abort', onStop);
    socket.terminate();
  }
}

async function refusalOf(response: IncomingMessage, path: string): Promise<OperationError> {
  addAbortSignal(AbortSignal.timeout(ANSWER_TIMEOUT_MS), response);
  // Without its reason it is a refusal all the same.
  const body = await readBody(response, MAX_REFUSAL_BYTES).catch(() => '');
  response.destroy();
  const text = body.toString();
  const status = response.statusCode;
  return new OperationError(
    messageIn(text, path) ??
      `the host on ${path} tells no events (it answered with ${status}): is it an older one?`,
  );
}
