import type { HostEvent } from '../../records/event.js';

/** How long (ms) it waits before it tries again: at first, and at most. */
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5_000;

const UNAUTHORIZED = 401;

/** Whoever reads what a host tells. */
export interface FeedReader {
  /** The host answers; everything is to be asked for anew. Events come afterwards. */
  onConnected(): Promise<void>;
  onEvent(event: HostEvent): void;
  /** The host cannot be reached; it is tried again. */
  onLost(): void;
  /** The token is not the host's: it is given up. */
  onRefused(): void;
}

/** Asks the host, and hears what it tells; after each restart of the host it begins again. */
export class Feed {
  readonly #token: string;
  readonly #reader: FeedReader;
  #waitMs = FIRST_WAIT_MS;

  constructor(token: string, reader: FeedReader) {
    this.#token = token;
    this.#reader = reader;
  }

  /** @throws Error with what the host says, where it does not answer as asked */
  async get<T>(resource: string, signal?: AbortSignal): Promise<T> {
    const response = await fetch(resource, {
      headers: { authorization: `Bearer ${this.#token}` },
      ...(signal && { signal }),
    });
    const value = await response.json();
    if (response.ok) return value as T;
    if (response.status === UNAUTHORIZED) throw new Refused(value.message);
    throw new Error(value.message);
  }

  /** From now on. */
  async connect(): Promise<void> {
    try {
      // Of a WebSocket that fails a page does not learn why.
      await this.get('/v1/status');
      this.#listen();
    } catch (thrown) {
      if (thrown instanceof Refused) this.#reader.onRefused();
      else this.#tryAgain();
    }
  }

  #listen(): void {
    const url = new URL('/v1/events?traffic=1', location.href.replace(/^http/, 'ws'));
    const socket = new WebSocket(url, ['portferry', `token.${this.#token}`]);
    /** Events wait for what they change. */
    let ready: Promise<void> | undefined;
    socket.addEventListener('message', ({ data }) => {
      const event = JSON.parse(data) as HostEvent;
      if (event.type === 'hello') {
        this.#waitMs = FIRST_WAIT_MS;
        ready = this.#reader.onConnected();
        ready.catch(() => socket.close());
      } else void ready?.then(() => this.#reader.onEvent(event)).catch(() => {});
    });
    socket.addEventListener('close', () => this.#tryAgain());
  }

  #tryAgain(): void {
    this.#reader.onLost();
    setTimeout(() => void this.connect(), this.#waitMs);
    this.#waitMs = Math.min(2 * this.#waitMs, LONGEST_WAIT_MS);
  }
}

class Refused extends Error {}
