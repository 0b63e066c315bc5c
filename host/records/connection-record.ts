import type { Tap, Tapped } from '../../protocol/tap.js';
import { formatDestination, formatHostPort } from '../../protocol/wire/destination.js';
import type { OpenResult, Source, SourceAddress } from '../../protocol/wire/extension.js';
import type { Forward } from '../forwards/forward.js';
import { type Cause, type Ending, type Outcome, type Phase, terminationOf } from './ending.js';
import type { ConnectionReport, EndingReport } from './reports.js';
import { Taps } from './taps.js';

/** Where a client's connection stands, or what has become of it. */
export type ConnectionState = 'held' | 'opening' | 'connected' | Outcome;

/** What carries a connection, and knows how much it has carried: asked when somebody wants to know. */
export interface Carrier {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** How long (ms) payload for the guest has waited for the guest, and the guest's for this end. */
  readonly sendStalledMs: number;
  readonly receiveStalledMs: number;
}

/** Each way, in ms. */
interface StalledMs {
  toGuest: number;
  toHost: number;
}

/** One for all that were not, which are most of those that are kept. */
const NOT_STALLED: Readonly<StalledMs> = { toGuest: 0, toHost: 0 };

/** Who hears of what happens to connections. Each event comes once, and `ended` comes last. */
export interface ConnectionObserver {
  /** A client is there. */
  onOpened?(record: ConnectionRecord): void;
  /** The guest has reached the destination; a plain guest does not tell. */
  onDialled?(record: ConnectionRecord): void;
  /** The first payload has come from the guest. */
  onFirstByte?(record: ConnectionRecord): void;
  onEnded?(record: ConnectionRecord, ending: Ending): void;
}

/** What a record tells those who keep all of them: the same events, none left out. */
export type RecordKeeper = Required<ConnectionObserver>;

/**
 * What is known of one client of a forward, from its coming to its end: a connection, or a flow of datagrams.
 * Whoever serves the client tells what happens; nothing is told for each read. Times are performance.now().
 */
export class ConnectionRecord {
  /** Counts up from 1 as clients come. */
  readonly id: number;
  readonly forward: Forward;
  readonly acceptedAt = performance.now();
  /** Who the client is, and which address it came to; a unix socket's client has neither. */
  readonly source: Source;
  /** Datagrams that were not carried on; of a flow only. */
  dropped = 0;
  readonly #keeper: RecordKeeper;
  readonly #openedAt = Date.now();
  #streamId = -1;
  #carrier: Carrier | undefined;
  /** What can be looked at while it carries the connection, and who looks. */
  #tapped: Tapped | undefined;
  #taps: Taps | undefined;
  #streamOpenedAt = 0;
  #dialledAt = 0;
  #dialMicros = 0;
  #firstByteAt = 0;
  #endedAt = 0;
  #ending: Ending | undefined;
  #bytesToGuest = 0;
  #bytesToHost = 0;
  /** What the forward's counters have of these bytes. */
  #countedToGuest = 0;
  #countedToHost = 0;
  /** Of the carrier, when it was last settled: the forward's counters have it. */
  #stalledMs = NOT_STALLED;

  constructor(id: number, forward: Forward, { client, listener }: Source, keeper: RecordKeeper) {
    this.id = id;
    this.forward = forward;
    this.source = { client: withoutZone(client), listener: withoutZone(listener) };
    this.#keeper = keeper;
  }

  // ---- what happens to it ----------------------------------------------------------------------------

  /**
   * Its stream was opened.
   * @param carrier is asked for bytes from now on, and let go at the end
   * @param tapped can be looked at from now on, before anything is carried
   */
  streamOpened(streamId: number, carrier: Carrier, tapped?: Tapped): void {
    this.#streamId = streamId;
    this.#carrier = carrier;
    this.#tapped = tapped;
    this.#taps?.carriedBy(tapped);
    this.#streamOpenedAt = performance.now();
  }

  dialled({ micros }: OpenResult): void {
    this.#dialledAt = performance.now();
    this.#dialMicros = micros;
    this.#keeper.onDialled(this);
  }

  firstByte(): void {
    this.#firstByteAt = performance.now();
    this.#keeper.onFirstByte(this);
  }

  /** Called once; nothing is told to the record any more. */
  ended(cause: Cause): void {
    this.settle();
    this.#carrier = undefined;
    this.#endedAt = performance.now();
    const phase = this.#phaseOf(cause);
    const empty = cause.by === 'server' && cause.outcome === 'closed' && this.#bytesToHost === 0;
    const message = empty ? `${cause.message} without having sent a byte` : cause.message;
    this.#ending = { ...cause, message, phase, empty, termination: terminationOf(cause, phase, empty) };
    this.#keeper.onEnded(this, this.#ending);
    this.#tapped = this.#taps = undefined;
  }

  /** Adds what was carried, and how long it stood still, since it was last done to the forward's counters. */
  settle(): void {
    const { counters } = this.forward;
    const { bytesToGuest, bytesToHost, stalledMs } = this;
    counters.stalledMicrosToGuest += Math.round((stalledMs.toGuest - this.#stalledMs.toGuest) * 1000);
    counters.stalledMicrosToHost += Math.round((stalledMs.toHost - this.#stalledMs.toHost) * 1000);
    this.#stalledMs = stalledMs;
    counters.bytesToGuest += bytesToGuest - this.#countedToGuest;
    counters.bytesToHost += bytesToHost - this.#countedToHost;
    this.#countedToGuest = this.#bytesToGuest = bytesToGuest;
    this.#countedToHost = this.#bytesToHost = bytesToHost;
  }

  // ---- who looks at what it carries ------------------------------------------------------------------

  /** `tap` sees what is carried from now on. A connection may have several. */
  addTap(tap: Tap): void {
    if (!this.#taps) {
      this.#taps = new Taps();
      this.#taps.carriedBy(this.#tapped);
    }
    this.#taps.add(tap);
  }

  removeTap(tap: Tap): void {
    this.#taps?.delete(tap);
  }

  // ---- what is known of it ---------------------------------------------------------------------------

  get state(): ConnectionState {
    if (this.#ending) return this.#ending.outcome;
    if (this.#streamId < 0) return 'held';
    return this.#dialledAt > 0 || this.#firstByteAt > 0 ? 'connected' : 'opening';
  }

  /** How it ended; undefined before that. */
  get ending(): Ending | undefined {
    return this.#ending;
  }

  /** When it ended; 0 before that. */
  get endedAt(): number {
    return this.#endedAt;
  }

  /** The stream's id; -1 before there is one. */
  get streamId(): number {
    return this.#streamId;
  }

  /** When it began, in ms since 1970. */
  get openedAt(): number {
    return this.#openedAt;
  }

  get bytesToGuest(): number {
    return this.#carrier?.bytesSent ?? this.#bytesToGuest;
  }

  get bytesToHost(): number {
    return this.#carrier?.bytesReceived ?? this.#bytesToHost;
  }

  /** How long (ms) payload has waited each way because the other end had not allowed more. */
  get stalledMs(): Readonly<StalledMs> {
    if (!this.#carrier) return this.#stalledMs;
    const { sendStalledMs: toGuest, receiveStalledMs: toHost } = this.#carrier;
    return toGuest === 0 && toHost === 0 ? NOT_STALLED : { toGuest, toHost };
  }

  report(): ConnectionReport {
    const { client } = this.source;
    const { rule } = this.forward;
    const { toGuest, toHost } = this.stalledMs;
    return {
      id: this.id,
      streamId: this.#streamId,
      forward: this.forward.id,
      destination: formatDestination(rule.destination),
      ...(client && { client: formatHostPort(client.ip, client.port) }),
      state: this.state,
      openedAt: new Date(this.#openedAt).toISOString(),
      ageMs: (this.#endedAt || performance.now()) - this.acceptedAt,
      bytesToGuest: this.bytesToGuest,
      bytesToHost: this.bytesToHost,
      ...(rule.proto === 'udp' && { dropped: this.dropped }),
      timingsMicros: this.timings(),
      stalledMicros: { toGuest: Math.round(toGuest * 1000), toHost: Math.round(toHost * 1000) },
      ...(this.#ending && { ending: reportEnding(this.#ending) }),
    };
  }

  #phaseOf({ outcome, how }: Cause): Phase {
    if (this.#streamId < 0) return 'waiting';
    // A plain guest does not tell that it has dialled; that both sides have ended says it, too.
    const dialled = this.#dialledAt > 0 || this.#firstByteAt > 0 || (outcome === 'closed' && how === 'FIN');
    return dialled ? 'data' : 'dialling';
  }

  /** What (µs) each part of the way took, as far as it has been gone and the peer could tell. */
  timings(): Record<string, number> {
    const timings: Record<string, number> = {};
    const note = (name: string, from: number, to: number): void => {
      if (from > 0 && to > 0) timings[name] = Math.max(0, Math.round((to - from) * 1000));
    };
    note('hold', this.acceptedAt, this.#streamOpenedAt);
    // The guest has told how long its dial took: the rest of the wait is the channel's, there and back.
    note('channel', this.#streamOpenedAt + this.#dialMicros / 1000, this.#dialledAt);
    if (this.#dialledAt > 0) timings['guestDial'] = this.#dialMicros;
    note('firstByte', this.#dialledAt || this.#streamOpenedAt, this.#firstByteAt);
    note('total', this.acceptedAt, this.#endedAt);
    return timings;
  }
}

function reportEnding({ by, phase, how, code, termination, empty, message }: Ending): EndingReport {
  return {
    ...{ termination, by, phase, how },
    ...(code !== undefined && { code }),
    ...(empty && { empty }),
    message,
  };
}

/** A link-local address names its interface (fe80::1%en0), which means nothing to the guest. */
function withoutZone(address: SourceAddress | undefined): SourceAddress | undefined {
  return address && { ...address, ip: address.ip.replace(/%.*$/, '') };
}
