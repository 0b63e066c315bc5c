import http from 'node:http';
import type { Readable } from 'node:stream';
import { Deadline } from '../../protocol/deadline.js';
import { errnoOf, messageOf, OperationError } from '../../protocol/errors.js';
import { isLogLevel, type LogLevel } from '../../protocol/program/logger.js';
import { BodyTooLarge, readBody } from '../../protocol/services/http-body.js';
import { textForPeople } from '../../protocol/services/text.js';
import { connectablePath } from '../../protocol/transport/unix-path.js';
import { CAPTURE_ID_HEADER } from '../capture/capture-id.js';
import type { DoctorReport } from '../diagnose/diagnosis.js';
import type { HealthReport } from '../diagnose/health.js';
import type { PathReport } from '../diagnose/path.js';
import type { DumpReport } from '../records/dump.js';
import type { ConnectionReport, ForwardReport, StatusReport } from '../records/reports.js';
import type { DashboardReport } from './dashboard-switch.js';

/** A host answers at once, unless it hangs (ms). Exposing waits for other changes and for the OS. */
const ANSWER_TIMEOUT_MS = 30_000;

/** What is read of an answer: a hundred thousand forwards, or the records of as many connections, fit into it. */
const MAX_ANSWER_BYTES = 128 * 1024 * 1024;

const OK = 200;

/** What hosts say to a request that they do not know: they run on after an upgrade, and commands are newer then. */
const UNKNOWN_RESOURCE = /^there is no [A-Z]+ \S+ here$/;

/** What has become of a request to remove forwards. */
export interface Unexposed {
  removed: ForwardReport[];
  /** For each SPEC that meant nothing: that, and what is there on its port. */
  unmatched: string[];
}

/** A capture under way. */
export interface RunningCapture {
  /** The file as it comes. It fails when the host goes. */
  stream: Readable;
  /** Has the host end the file in order: what is left of it still comes. */
  stop(): Promise<void>;
}

/** Asks a running host over its control socket. Every method throws OperationError with what to try. */
export class ControlClient {
  readonly path: string;
  readonly #timeoutMs: number;
  readonly #maxAnswerBytes: number;

  /** @param path of the host's control socket */
  constructor(path: string, timeoutMs = ANSWER_TIMEOUT_MS, maxAnswerBytes = MAX_ANSWER_BYTES) {
    this.path = path;
    this.#timeoutMs = timeoutMs;
    this.#maxAnswerBytes = maxAnswerBytes;
  }

  status(): Promise<StatusReport> {
    return this.#ask('GET', '/v1/status', isObject<StatusReport>);
  }

  forwards(): Promise<ForwardReport[]> {
    return this.#ask('GET', '/v1/forwards', isListOfObjects<ForwardReport>);
  }

  connections(): Promise<ConnectionReport[]> {
    return this.#ask('GET', '/v1/connections', isListOfObjects<ConnectionReport>);
  }

  /** Exposes all or none, and returns the forwards in the order of the SPECs. */
  expose(specs: readonly string[]): Promise<ForwardReport[]> {
    return this.#ask('POST', '/v1/forwards', isListOfObjects<ForwardReport>, { specs });
  }

  unexpose(specs: readonly string[]): Promise<Unexposed> {
    return this.#ask('DELETE', '/v1/forwards', isObject<Unexposed>, { specs });
  }

  dump(): Promise<DumpReport> {
    return this.#ask('GET', '/v1/dump', isObject<DumpReport>);
  }

  /** @param of as parsePathQuestion reads it */
  pathOf(of: string): Promise<PathReport> {
    return this.#ask('GET', `/v1/path?of=${encodeURIComponent(of)}`, isObject<PathReport>);
  }

  /** @param of as parsePathQuestion reads it */
  doctor(of: string): Promise<DoctorReport> {
    return this.#ask('GET', `/v1/doctor?of=${encodeURIComponent(of)}`, isObject<DoctorReport>);
  }

  /** Begins a capture. @param query as capture-api.ts reads it */
  async capture(query: Readonly<Record<string, string | number>>): Promise<RunningCapture> {
    const given = Object.entries(query).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    const resource = `/v1/capture?${given.join('&')}`;
    return this.#inTime(async (signal) => {
      const response = await this.#open('GET', resource, '', signal);
      if (response.statusCode === OK) return this.#running(response);
      const body = await readBody(response, this.#maxAnswerBytes);
      throw this.#refusal('GET', resource, Number(response.statusCode), body.toString('utf8'));
    });
  }

  #running(response: http.IncomingMessage): RunningCapture {
    const id = encodeURIComponent(String(response.headers[CAPTURE_ID_HEADER]));
    return { stream: response, stop: async () => void (await this.#exchange('DELETE', `/v1/capture/${id}`)) };
  }

  /** Where the dashboard is. It is switched on, if need be. */
  dashboard(): Promise<DashboardReport> {
    return this.#ask('POST', '/v1/dashboard', isObject<DashboardReport>);
  }

  /** What is wrong with the host, whatever port it is about. */
  health(): Promise<HealthReport> {
    return this.#ask('GET', '/v1/doctor', isObject<HealthReport>);
  }

  /** How much the host logs. */
  async logLevel(): Promise<LogLevel> {
    return (await this.#ask('GET', '/v1/log-level', isLevelReport)).level;
  }

  /** @returns how much the host logs now */
  async setLogLevel(level: LogLevel): Promise<LogLevel> {
    return (await this.#ask('PUT', '/v1/log-level', isLevelReport, { level })).level;
  }

  /** The dump as text for people. */
  dumpText(): Promise<string> {
    return this.#exchange('GET', '/forwards/dump');
  }

  /** @param isAnswer tells what a host answers from what something else does */
  async #ask<T>(
    method: string,
    resource: string,
    isAnswer: (value: unknown) => value is T,
    body?: unknown,
  ): Promise<T> {
    const value = jsonIn(await this.#exchange(method, resource, body));
    if (isAnswer(value)) return value;
    throw new OperationError(
      `what answers on ${this.path} is no portferry host of this version: ${method} ${resource} gave something else`,
    );
  }

  /** @returns the body of an answer that is not an error */
  async #exchange(method: string, resource: string, body?: unknown): Promise<string> {
    const payload = body === undefined ? '' : JSON.stringify(body);
    const { status, text } = await this.#inTime((signal) => this.#request(method, resource, payload, signal));
    if (status === OK) return text;
    throw this.#refusal(method, resource, status, text);
  }

  #refusal(method: string, resource: string, status: number, text: string): OperationError {
    return new OperationError(
      messageIn(text, this.path) ?? `the host on ${this.path} answered ${method} ${resource} with ${status}`,
    );
  }

  /**
   * Asks, and waits no longer than for any answer.
   * @param ask gives up when the signal is aborted
   * @throws OperationError that says why there is no answer
   */
  #inTime<T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return Deadline.within(this.#timeoutMs, (deadline) =>
      ask(deadline.signal).catch((thrown: unknown) => {
        throw this.#unreachable(thrown, deadline.over);
      }),
    );
  }

  async #request(
    method: string,
    resource: string,
    payload: string,
    signal: AbortSignal,
  ): Promise<{ status: number; text: string }> {
    const response = await this.#open(method, resource, payload, signal);
    try {
      const body = await readBody(response, this.#maxAnswerBytes);
      return { status: Number(response.statusCode), text: body.toString('utf8') };
    } finally {
      response.destroy();
    }
  }

  /** @returns the answer, of which the body has still to be read */
  #open(
    method: string,
    resource: string,
    payload: string,
    signal: AbortSignal,
  ): Promise<http.IncomingMessage> {
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
        signal,
      });
      request.on('error', reject);
      request.on('response', resolve);
      request.end(payload);
    });
  }

  #unreachable(thrown: unknown, late: boolean): OperationError {
    if (thrown instanceof OperationError) return thrown;
    if (thrown instanceof BodyTooLarge)
      return new OperationError(
        `what answers on ${this.path} is no portferry host: it gave ${thrown.message}`,
      );
    if (late)
      return new OperationError(
        `the portferry host on ${this.path} has not answered for ${this.#timeoutMs / 1000} s`,
      );
    return describeUnreachable(this.path, thrown);
  }
}

/** Why the host cannot be reached that should be on this socket, and what to try. */
export function describeUnreachable(path: string, thrown: unknown): OperationError {
  return new OperationError(describeFailure(path, errnoOf(thrown) ?? messageOf(thrown)));
}

/** @param failure an errno, or whatever else is known */
function describeFailure(path: string, failure: string): string {
  switch (failure) {
    case 'ECONNREFUSED':
      return `no portferry host answers on ${path} (${failure}): the one that did has ended; start it with 'portferry host'`;
    case 'EACCES':
      return `the control socket ${path} cannot be used (${failure}): it is another user's; give --control PATH, or be that user`;
    case 'EAGAIN':
      return `the portferry host on ${path} is busy (${failure}): too many wait to be connected; try again`;
    case 'ECONNRESET':
    case 'EPIPE':
      return `the portferry host on ${path} has ended the connection (${failure}): it is busy, or stopping; try again`;
    default:
      return `no portferry host answers on ${path} (${failure}): start it with 'portferry host' or give --control PATH`;
  }
}

/** The JSON of an answer; undefined, which no JSON is, where it is none. */
function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject<T>(value: unknown): value is T {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isLevelReport(value: unknown): value is { level: LogLevel } {
  return isObject<{ level?: unknown }>(value) && isLogLevel(value.level);
}

function isListOfObjects<T>(value: unknown): value is T[] {
  return Array.isArray(value) && value.every(isObject);
}

/**
 * What an answer of our API says is wrong; of any other the status alone is reported.
 * @param path of the control socket
 */
export function messageIn(text: string, path: string): string | undefined {
  const value = jsonIn(text);
  if (!isObject<{ message?: unknown }>(value) || typeof value.message !== 'string') return undefined;
  const message = textForPeople(value.message);
  if (!UNKNOWN_RESOURCE.test(message)) return message;
  return `the host on ${path} is of another version than this command (${message}): restart it (portferry service restart)`;
}
