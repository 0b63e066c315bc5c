import { formatDestination, formatHostPort } from '../../protocol/wire/destination.js';
import type { OpenResult, Source, SourceAddress } from '../../protocol/wire/extension.js';
import type { Forward } from '../forwards/forward-table.js';
import type { ConnectionReport } from './reports.js';

/** Where a client's connection stands, or how it ended. */
export type ConnectionState = 'held' | 'opening' | 'connected' | 'closed' | 'refused' | 'failed';

/** What a client's stream has carried so far. */
export interface Carried {
  bytesToGuest: number;
  bytesToHost: number;
  /** When (performance.now) the first payload came from the guest; 0 before that. */
  firstPayloadAt: number;
}

const NOTHING: Carried = { bytesToGuest: 0, bytesToHost: 0, firstPayloadAt: 0 };

/** What is known of one client of a forward, from its coming to its end. Times are performance.now(). */
export abstract class ConnectionRecord {
  readonly forward: Forward;
  readonly acceptedAt = performance.now();
  state: ConnectionState = 'held';
  /** Who the client is, and which address it came to; a unix socket's client has neither. */
  readonly source: Source;
  #streamId = -1;
  #openedAt = 0;
  #connectedAt = 0;
  #dialMicros = 0;
  #final: (Carried & { endedAt: number }) | undefined;

  constructor(forward: Forward, { client, listener }: Source) {
    this.forward = forward;
    this.source = { client: withoutZone(client), listener: withoutZone(listener) };
  }

  /** What the stream has carried; undefined before there is one. */
  protected abstract get carried(): Carried | undefined;

  /** The stream's id; -1 before there is one. */
  get streamId(): number {
    return this.#streamId;
  }

  protected streamOpened(streamId: number): void {
    this.#streamId = streamId;
    this.#openedAt = performance.now();
    this.state = 'opening';
  }

  connected(result: OpenResult): void {
    this.#connectedAt = performance.now();
    this.#dialMicros = result.micros;
    this.state = 'connected';
  }

  /** Keeps the figures, and adds them to the forward's: what has carried the connection may be let go. */
  ended(state: ConnectionState): void {
    this.#final = { endedAt: performance.now(), ...this.#carried };
    this.state = state;
    const { counters } = this.forward;
    counters.active--;
    counters.bytesToGuest += this.bytesToGuest;
    counters.bytesToHost += this.bytesToHost;
    if (state === 'refused') counters.refused++;
    if (state === 'failed') counters.failed++;
  }

  get bytesToGuest(): number {
    return this.#carried.bytesToGuest;
  }

  get bytesToHost(): number {
    return this.#carried.bytesToHost;
  }

  report(): ConnectionReport {
    const { client } = this.source;
    const report: ConnectionReport = {
      streamId: this.#streamId,
      forward: this.forward.id,
      destination: formatDestination(this.forward.rule.destination),
      state: this.state,
      ageMs: (this.#final?.endedAt ?? performance.now()) - this.acceptedAt,
      bytesToGuest: this.bytesToGuest,
      bytesToHost: this.bytesToHost,
      timings: this.#timings(),
    };
    return client ? { ...report, client: formatHostPort(client.ip, client.port) } : report;
  }

  get #carried(): Carried {
    return this.#final ?? this.carried ?? NOTHING;
  }

  /** What each part of the way took, in µs, as far as it has been gone and the peer could tell. */
  #timings(): Record<string, number> {
    const timings: Record<string, number> = {};
    const micros = (name: string, from: number, to: number): void => {
      if (from > 0 && to > 0) timings[name] = Math.max(0, Math.round((to - from) * 1000));
    };
    micros('hold', this.acceptedAt, this.#openedAt);
    // The guest has told how long its dial took: the rest of the wait is the channel's, there and back.
    micros('channel', this.#openedAt + this.#dialMicros / 1000, this.#connectedAt);
    if (this.#connectedAt > 0) timings['guestDial'] = this.#dialMicros;
    micros('firstByte', this.#connectedAt || this.#openedAt, this.#carried.firstPayloadAt);
    micros('total', this.acceptedAt, this.#final?.endedAt ?? 0);
    return timings;
  }
}

/** A link-local address names its interface (fe80::1%en0), which means nothing to the guest. */
function withoutZone(address: SourceAddress | undefined): SourceAddress | undefined {
  return address && { ...address, ip: address.ip.replace(/%.*$/, '') };
}
