import http from 'node:http';
import { parseJson } from '../../protocol/bounded-json.js';
import type { StreamOpener } from '../../protocol/channel/stream-opener.js';
import { Deadline } from '../../protocol/deadline.js';
import { StreamDuplex, StreamError } from '../../protocol/duplex.js';
import { messageOf } from '../../protocol/errors.js';
import { readBody } from '../../protocol/services/http-body.js';
import {
  type Finding,
  INSPECT_SERVICE,
  WAY_RESOURCE,
  type WayReport,
} from '../../protocol/services/inspect.js';
import { readRefusal } from '../../protocol/services/lease-answers.js';
import { textForPeople } from '../../protocol/services/text.js';
import { readWayReport } from '../../protocol/services/way-answer.js';

/** How long (ms) the guest may look: it gives up after 8 s itself. */
const ANSWER_TIMEOUT_MS = 10_000;

/** What is read of an answer: a way is a few KiB. */
const MAX_ANSWER_BYTES = 256 * 1024;
const MAX_ANSWER_VALUES = 4096;
/** A report has findings, of which one is a container, which has published ports. */
const MAX_ANSWER_DEPTH = 6;

/** What is looked for in the guest, as the query of WAY_RESOURCE. */
export type WayQuery = Readonly<Record<string, string>>;

/** Why the guest could not be asked; `silent`: it does not answer at all. */
export type Unanswered = { readonly unseen: string; readonly silent?: boolean };

/** The guest's service portferry:inspect, as a client of it. */
export class GuestInspector {
  readonly #streams: StreamOpener;
  readonly #timeoutMs: number;

  constructor(streams: StreamOpener, timeoutMs = ANSWER_TIMEOUT_MS) {
    this.#streams = streams;
    this.#timeoutMs = timeoutMs;
  }

  /** The way from a port in the guest to who serves it; where it cannot be seen, why. Never throws. */
  async look(query: WayQuery): Promise<Finding<WayReport> & { readonly silent?: boolean }> {
    if (!this.#streams.takesStreams) return { unseen: this.#streams.obstacle.message };
    return Deadline.within(this.#timeoutMs, (deadline) => this.#lookBy(deadline, query));
  }

  async #lookBy(
    deadline: Deadline,
    query: WayQuery,
  ): Promise<Finding<WayReport> & { readonly silent?: boolean }> {
    try {
      const { status, body } = await this.#ask(
        `${WAY_RESOURCE}?${new URLSearchParams(query)}`,
        deadline.signal,
      );
      const answer =
        body.length === 0 ? undefined : parseJson('its answer', body, MAX_ANSWER_VALUES, MAX_ANSWER_DEPTH);
      const refusal = readRefusal(status, answer);
      return refusal === undefined ? { found: readWayReport(answer) } : { unseen: refusal };
    } catch (thrown) {
      if (deadline.over)
        return { unseen: `the guest has not answered for ${this.#timeoutMs / 1000} s`, silent: true };
      return { unseen: describe(thrown) };
    }
  }

  #ask(path: string, signal: AbortSignal): Promise<{ status: number; body: Buffer }> {
    return new Promise((resolve, reject) => {
      const duplex = new StreamDuplex((handler) =>
        this.#streams.open({ proto: 'unix', path: INSPECT_SERVICE }, handler),
      );
      duplex.on('error', reject);
      // A plain guest closes what it cannot dial, and says nothing.
      duplex.on('close', () => reject(new StreamError('the guest has closed the stream', undefined, true)));
      signal.addEventListener('abort', () => duplex.destroy(new Error('the guest does not answer')));
      // With "connection: close" the guest would end the stream, and might overtake its own answer.
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      agent.createConnection = () => duplex;
      const request = http.request({ agent, path, host: 'guest' });
      request.on('error', reject);
      request.on('response', (response) => {
        readBody(response, MAX_ANSWER_BYTES)
          .then((body) => resolve({ status: Number(response.statusCode), body }), reject)
          .finally(() => duplex.destroy());
      });
      request.end();
    });
  }
}

function describe(thrown: unknown): string {
  if (thrown instanceof StreamError && thrown.refused) {
    if (thrown.code === undefined)
      return 'the guest is no portferry-guest, or cannot be asked: vpnkit-forwarder does not look';
    return `the guest does not look: ${textForPeople(thrown.message)}; it may be an older portferry-guest`;
  }
  return textForPeople(messageOf(thrown));
}
