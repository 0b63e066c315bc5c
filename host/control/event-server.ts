import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { messageOf } from '../../protocol/errors.js';
import { textForPeople } from '../../protocol/services/text.js';
import { type EventFilter, parseEventFilter } from './event-filter.js';
import { EventHub, MAX_SUBSCRIBERS, type ObservedHost } from './event-hub.js';
import { MAX_MESSAGE_BYTES } from './subscriber.js';

const PATH = '/v1/events';

export interface EventServerOptions {
  /** Subscribers at once. Default: MAX_SUBSCRIBERS. */
  maxSubscribers?: number;
  /** Whether a web page from there may subscribe. Default: none may. */
  admitsOrigin?(origin: string): boolean;
}

/** Why somebody may not subscribe. */
export interface Refusal {
  status: number;
  message: string;
}

/** `/v1/events`: answers requests for a WebSocket of any HTTP server. */
export class EventServer {
  readonly #hub: EventHub;
  readonly #options: EventServerOptions;
  readonly #server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
    // See Subscriber.
    autoPong: false,
  });
  #closed = false;

  constructor(host: ObservedHost, options: EventServerOptions = {}) {
    this.#hub = new EventHub(host);
    this.#options = options;
  }

  /**
   * Takes over a request that asks for another protocol, as the event `upgrade` of an HTTP server has it.
   * @param busy why nobody more can be served
   */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, busy?: string): void {
    const [path = '', query] = String(request.url).split('?', 2);
    const filter = this.#admit(request, path, query, busy);
    if ('status' in filter) refuseUpgrade(socket, filter);
    else
      this.#server.handleUpgrade(request, socket, head, (webSocket) =>
        this.#hub.subscribe(webSocket, filter),
      );
  }

  /** Lets everybody go, and takes nobody any more. */
  close(): void {
    this.#closed = true;
    this.#hub.close();
  }

  #admit(
    { headers }: IncomingMessage,
    path: string,
    query: string | undefined,
    busy: string | undefined,
  ): EventFilter | Refusal {
    const { maxSubscribers = MAX_SUBSCRIBERS, admitsOrigin = () => false } = this.#options;
    const { origin } = headers;
    if (busy !== undefined) return { status: 503, message: busy };
    if (this.#closed) return { status: 503, message: 'the host is stopping' };
    if (path !== PATH)
      return { status: 404, message: textForPeople(`${path} is no WebSocket: events are at ${PATH}`) };
    if (origin !== undefined && !admitsOrigin(origin))
      return { status: 403, message: textForPeople(`a web page of ${origin} may not read events`) };
    if (this.#hub.size >= maxSubscribers)
      return {
        status: 503,
        message: `${maxSubscribers} read events already, and the host takes no more: end one of them, and try again`,
      };
    try {
      return parseEventFilter(new URLSearchParams(query));
    } catch (thrown) {
      return { status: 400, message: textForPeople(messageOf(thrown)) };
    }
  }
}

/** Answers a request for a WebSocket as the rest of the API has it; then the connection ends. */
export function refuseUpgrade(socket: Duplex, { status, message }: Refusal): void {
  const body = JSON.stringify({ message });
  socket.on('error', () => {});
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'connection: close',
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
      '',
      body,
    ].join('\r\n'),
    () => socket.destroy(),
  );
}
