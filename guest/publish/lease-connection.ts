import http from 'node:http';
import { parseJson } from '../../protocol/bounded-json.js';
import { type StreamDuplex, StreamError } from '../../protocol/duplex.js';
import { messageOf, OperationError } from '../../protocol/errors.js';
import {
  EXPOSE_PIPE_RESOURCE,
  EXPOSE_PORT_RESOURCE,
  LEASE_RESOURCE,
  type LeaseOutcome,
  type LeaseRequest,
  LIST_RESOURCE,
  UNEXPOSE_PIPE_RESOURCE,
  UNEXPOSE_PORT_RESOURCE,
  type VpnkitPort,
} from '../../protocol/services/control.js';
import { BodyTooLarge, readBody } from '../../protocol/services/http-body.js';
import {
  readExposed,
  readForwards,
  readLeaseReport,
  readRefusal,
} from '../../protocol/services/lease-answers.js';
import { textForPeople } from '../../protocol/services/text.js';

/** What an answer about no forward may have: a message, and what proxies in between may add. */
const ANSWER_BYTES = 64 * 1024;
const ANSWER_VALUES = 64;

/** What an answer may have beyond that for each forward it is about: its fields, or a long reason. */
const BYTES_PER_FORWARD = 4 * 1024;
const VALUES_PER_FORWARD = 16;

/** The host does not listen for what it was asked for, or could not be asked; `status` is that of HTTP. */
export class ExposeError extends OperationError {
  override name = 'ExposeError';
  /** From 400 to 599. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The lease's stream has ended, or what came on it was no answer: its forwards are gone. */
export class ConnectionLost extends Error {
  override name = 'ConnectionLost';
}

/**
 * One lease's stream to the service portferry:control, as a client of HTTP/1.1. One request at a time; each
 * throws ExposeError when the host does not do it, and ConnectionLost when that is not known.
 */
export class LeaseConnection {
  readonly #duplex: StreamDuplex;
  readonly #agent: http.Agent;
  #ended = false;
  /** Why it has ended. */
  #failure: Error | undefined;
  /** Fails the request that is under way. */
  #fail: ((reason: Error) => void) | undefined;

  /** @param onEnd told once when the stream has ended, with the peer's reason if it has refused it */
  constructor(duplex: StreamDuplex, onEnd: (refusal: StreamError | undefined) => void) {
    this.#duplex = duplex;
    duplex.on('error', (error) => {
      this.#failure = error;
    });
    // node:http would read on for ever, and forget it.
    duplex.on('data', () => {
      if (!this.#fail) this.close('the host sends what was not asked for');
    });
    duplex.on('close', () => {
      this.#ended = true;
      this.#failure ??= new Error('the host has ended the lease');
      this.#agent.destroy();
      // A stream that ends just when it is handed to a request would leave that waiting.
      this.#fail?.(this.#failure);
      onEnd(this.#failure instanceof StreamError && this.#failure.refused ? this.#failure : undefined);
    });
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    this.#agent.createConnection = () => duplex;
  }

  /** Whether nothing can be asked any more. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Makes the lease's forwards those of the request. @returns what has become of each */
  set(request: LeaseRequest): Promise<LeaseOutcome[]> {
    const { length } = request.forwards;
    return this.#ask('PUT', LEASE_RESOURCE, request, length, (body) => readLeaseReport(body, length));
  }

  /** @returns the forward, with the port that was chosen where none was given */
  expose(forward: VpnkitPort): Promise<VpnkitPort> {
    const resource = forward.proto === 'unix' ? EXPOSE_PIPE_RESOURCE : EXPOSE_PORT_RESOURCE;
    return this.#ask('PUT', resource, forward, 1, (body) => readExposed(body, forward));
  }

  unexpose(forward: VpnkitPort): Promise<void> {
    const resource = forward.proto === 'unix' ? UNEXPOSE_PIPE_RESOURCE : UNEXPOSE_PORT_RESOURCE;
    return this.#ask('DELETE', resource, forward, 0, () => undefined);
  }

  /** @param held how many forwards there are at most */
  list(held: number): Promise<VpnkitPort[]> {
    return this.#ask('GET', LIST_RESOURCE, undefined, held, readForwards);
  }

  /** Ends the lease. */
  close(reason = 'it was given up'): void {
    this.#ended = true;
    this.#duplex.destroy(new Error(reason));
  }

  /** @param about how many forwards the answer is about */
  async #ask<T>(
    method: string,
    path: string,
    body: object | undefined,
    about: number,
    read: (body: unknown) => T,
  ): Promise<T> {
    try {
      const { status, text } = await this.#exchange(method, path, body, about);
      const values = ANSWER_VALUES + about * VALUES_PER_FORWARD;
      const answer = text.length === 0 ? undefined : parseJson('its answer', text, values);
      const refusal = readRefusal(status, answer);
      if (refusal === undefined) return read(answer);
      throw new ExposeError(status, refusal);
    } catch (thrown) {
      if (thrown instanceof ExposeError) throw thrown;
      this.close();
      throw new ConnectionLost(
        thrown instanceof BodyTooLarge ? `its answer is ${thrown.message}` : textForPeople(messageOf(thrown)),
      );
    }
  }

  async #exchange(
    method: string,
    path: string,
    body: object | undefined,
    about: number,
  ): Promise<{ status: number; text: Buffer }> {
    if (this.#ended) throw this.#failure ?? new Error('the lease has been given up');
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      const payload = body === undefined ? '' : JSON.stringify(body);
      const headers = payload === '' ? {} : { 'content-length': Buffer.byteLength(payload) };
      const request = http.request({ agent: this.#agent, method, path, headers, host: 'host' });
      request.on('error', reject);
      request.on('response', (response) => {
        const status = Number(response.statusCode);
        // What is whole counts, also when the stream ends right behind it.
        response.on('end', () => {
          this.#fail = undefined;
        });
        readBody(response, ANSWER_BYTES + about * BYTES_PER_FORWARD).then(
          (text) => resolve({ status, text }),
          reject,
        );
      });
      request.end(payload);
    });
  }
}
