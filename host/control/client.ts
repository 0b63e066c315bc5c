import http from 'node:http';
import { errnoOf, messageOf, OperationError } from '../../protocol/errors.js';
import { connectablePath } from '../../protocol/transport/unix-path.js';
import type { DumpReport } from '../records/dump.js';
import type { ConnectionReport, ForwardReport, StatusReport } from '../records/reports.js';

/** A host answers at once, unless it hangs (ms). Exposing waits for other changes and for the OS. */
const ANSWER_TIMEOUT_MS = 30_000;

const FIRST_ERROR_STATUS = 400;

/** Asks a running host over its control socket. Every method throws OperationError with what to try. */
export class ControlClient {
  readonly path: string;
  readonly #timeoutMs: number;

  /** @param path of the host's control socket */
  constructor(path: string, timeoutMs = ANSWER_TIMEOUT_MS) {
    this.path = path;
    this.#timeoutMs = timeoutMs;
  }

  async status(): Promise<StatusReport> {
    return (await this.#ask('GET', '/v1/status')) as StatusReport;
  }

  async forwards(): Promise<ForwardReport[]> {
    return (await this.#ask('GET', '/v1/forwards')) as ForwardReport[];
  }

  async connections(): Promise<ConnectionReport[]> {
    return (await this.#ask('GET', '/v1/connections')) as ConnectionReport[];
  }

  /** Exposes all or none, and returns the forwards in the order of the SPECs. */
  async expose(specs: readonly string[]): Promise<ForwardReport[]> {
    return (await this.#ask('POST', '/v1/forwards', { specs })) as ForwardReport[];
  }

  /** @returns what was removed */
  async unexpose(specs: readonly string[]): Promise<ForwardReport[]> {
    return (await this.#ask('DELETE', '/v1/forwards', { specs })) as ForwardReport[];
  }

  async dump(): Promise<DumpReport> {
    return (await this.#ask('GET', '/v1/dump')) as DumpReport;
  }

  /** The dump as text for people. */
  dumpText(): Promise<string> {
    return this.#exchange('GET', '/forwards/dump');
  }

  async #ask(method: string, resource: string, body?: unknown): Promise<unknown> {
    const text = await this.#exchange(method, resource, body);
    try {
      return JSON.parse(text);
    } catch {
      throw new OperationError(
        `what answers on ${this.path} is no portferry host: ${method} ${resource} gave no JSON`,
      );
    }
  }

  /** @returns the body of an answer that is not an error */
  async #exchange(method: string, resource: string, body?: unknown): Promise<string> {
    const payload = body === undefined ? '' : JSON.stringify(body);
    const { status, text } = await this.#request(method, resource, payload).catch((thrown: unknown) => {
      throw this.#unreachable(thrown);
    });
    if (status < FIRST_ERROR_STATUS) return text;
    throw new OperationError(
      messageIn(text) ?? `the host on ${this.path} answered ${method} ${resource} with ${status}`,
    );
  }

  #request(method: string, resource: string, payload: string): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const headers =
        payload === ''
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) };
      const request = http.request({
        socketPath: connectablePath(this.path),
        method,
        path: resource,
        headers,
        agent: false,
        signal: AbortSignal.timeout(this.#timeoutMs),
      });
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

  #unreachable(thrown: unknown): OperationError {
    if (thrown instanceof OperationError) return thrown;
    if (thrown instanceof Error && thrown.name === 'AbortError')
      return new OperationError(
        `the portferry host on ${this.path} has not answered for ${this.#timeoutMs / 1000} s`,
      );
    return new OperationError(
      `no portferry host answers on ${this.path} (${errnoOf(thrown) ?? messageOf(thrown)}): start it with 'portferry host' or give --control PATH`,
    );
  }
}

function messageIn(text: string): string | undefined {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? message : undefined;
  } catch {
    // Not an answer of our API: the status alone is reported.
    return undefined;
  }
}
