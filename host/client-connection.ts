import type { RawSocket } from '../protocol/socket/raw-socket.js';
import type { Splice } from '../protocol/splice.js';
import { formatDestination, formatHostPort } from '../protocol/wire/destination.js';
import type { OpenResult, Source, SourceAddress } from '../protocol/wire/extension.js';
import type { ConnectionReport } from './control/reports.js';
import type { Forward } from './forwards.js';

/** Where a client's connection stands, or how it ended. */
export type ConnectionState = 'held' | 'opening' | 'connected' | 'closed' | 'refused' | 'failed';

/** One client of a forward: what is known of it, from its accept to its end. Times are performance.now(). */
export class ClientConnection {
  readonly forward: Forward;
  readonly acceptedAt = performance.now();
  state: ConnectionState = 'held';
  readonly socket: RawSocket;
  /** Who the client is, and which address it came to; a unix socket's client has neither. */
  readonly source: Source;
  /** From the moment its stream is opened until it has ended. */
  splice: Splice | undefined;
  #streamId = -1;
  #openedAt = 0;
  #connectedAt = 0;
  #dialMicros = 0;
  #final: { endedAt: number; bytesToGuest: number; bytesToHost: number; firstPayloadAt: number } | undefined;

  constructor(socket: RawSocket, forward: Forward) {
    this.socket = socket;
    this.forward = forward;
    // Now: of a socket that is closed the OS tells nothing any more.
    this.source = readSource(socket);
  }

  /** The stream's id; -1 before there is one. */
  get streamId(): number {
    return this.#streamId;
  }

  opened(splice: Splice): void {
    this.splice = splice;
    this.#streamId = splice.stream.id;
    this.#openedAt = performance.now();
    this.state = 'opening';
  }

  connected(result: OpenResult): void {
    this.#connectedAt = performance.now();
    this.#dialMicros = result.micros;
    this.state = 'connected';
  }

  /** Keeps the figures, and lets go of the splice and what that holds. */
  ended(state: ConnectionState): void {
    const { stream, firstPayloadAt = 0 } = this.splice ?? {};
    this.#final = {
      endedAt: performance.now(),
      bytesToGuest: stream?.bytesSent ?? 0,
      bytesToHost: stream?.bytesReceived ?? 0,
      firstPayloadAt,
    };
    this.state = state;
    this.splice = undefined;
  }

  get bytesToGuest(): number {
    return this.#final?.bytesToGuest ?? this.splice?.stream.bytesSent ?? 0;
  }

  get bytesToHost(): number {
    return this.#final?.bytesToHost ?? this.splice?.stream.bytesReceived ?? 0;
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

  /** What each part of the way took, in µs, as far as it has been gone and the peer could tell. */
  #timings(): Record<string, number> {
    const timings: Record<string, number> = {};
    const micros = (name: string, from: number, to: number): void => {
      if (from > 0 && to > 0) timings[name] = Math.max(0, Math.round((to - from) * 1000));
    };
    const firstPayloadAt = this.#final?.firstPayloadAt ?? this.splice?.firstPayloadAt ?? 0;
    micros('hold', this.acceptedAt, this.#openedAt);
    // The guest has told how long its dial took: the rest of the wait is the channel's, there and back.
    micros('channel', this.#openedAt + this.#dialMicros / 1000, this.#connectedAt);
    if (this.#connectedAt > 0) timings['guestDial'] = this.#dialMicros;
    micros('firstByte', this.#connectedAt || this.#openedAt, firstPayloadAt);
    micros('total', this.acceptedAt, this.#final?.endedAt ?? 0);
    return timings;
  }
}

function readSource(socket: RawSocket): Source {
  return { client: withoutZone(socket.remote), listener: withoutZone(socket.local) };
}

/** A link-local address names its interface (fe80::1%en0), which means nothing to the guest. */
function withoutZone(address: SourceAddress | undefined): SourceAddress | undefined {
  return address && { ...address, ip: address.ip.replace(/%.*$/, '') };
}
