import http from 'node:http';
import { type StreamDuplex, StreamError } from '../../protocol/duplex.js';
import { messageOf } from '../../protocol/errors.js';

export interface Answer {
  status: number;
  /** What the body's JSON says; undefined where there is none. */
  body: unknown;
}

/** The lease's stream has ended, or what came on it was no answer: its forwards are gone. */
export class ConnectionLost extends Error {
  override name = 'ConnectionLost';
}

/** One lease's stream to the service portferry:control, as a client of HTTP/1.1. */
export class LeaseConnection {
  readonly #duplex: StreamDuplex;
  readonly #agent: http.Agent;
  #ended = false;
  /** Fails the request that is under way. */
  #fail: ((reason: Error) => void) | undefined;

  /** @param onEnd told once when the stream has ended, with the peer's reason if it has refused it */
  constructor(duplex: StreamDuplex, onEnd: (refusal: StreamError | undefined) => void) {
    this.#duplex = duplex;
    let failure: Error | undefined;
    duplex.on('error', (error) => {
      failure = error;
    });
    duplex.on('close', () => {
      this.#ended = true;
      this.#agent.destroy();
      // A stream that ends just when it is handed to a request would leave that waiting.
      this.#fail?.(failure ?? new Error('the host has ended the lease'));
      onEnd(failure instanceof StreamError && failure.refused ? failure : undefined);
    });
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    this.#agent.createConnection = () => duplex;
  }

  /**
   * Sends one request; the one before it must have been answered.
   * @throws ConnectionLost
   */
  async request(method: string, path: string, body?: unknown): Promise<Answer> {
    if (this.#ended) throw new ConnectionLost('the lease has ended');
    try {
      const { status, text } = await this.#exchange(method, path, body);
      return { status, body: text === '' ? undefined : JSON.parse(text) };
    } catch (thrown) {
      this.close();
      throw new ConnectionLost(messageOf(thrown));
    }
  }

  /** Whether nothing can be asked any more. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Ends the lease. */
  close(reason = 'it was given up'): void {
    this.#ended = true;
    this.#duplex.destroy(new Error(reason));
  }

  #exchange(method: string, path: string, body: unknown): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      const payload = body === undefined ? '' : JSON.stringify(body);
      const headers = payload === '' ? {} : { 'content-length': Buffer.byteLength(payload) };
      const request = http.request({ agent: this.#agent, method, path, headers, host: 'host' });
      request.on('error', reject);
      request.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('error', reject);
        response.on('end', () => resolve({ status: Number(response.statusCode), text }));
      });
      request.end(payload);
    });
  }
}
