import type { WebSocket } from 'ws';
import type { Claim } from '../forwards/claim.js';
import type { Forward } from '../forwards/forward.js';
import type { ForwardObserver } from '../forwards/forward-observer.js';
import type { ForwardTable } from '../forwards/forward-table.js';
import type { ConnectionObserver, ConnectionRecord } from '../records/connection-record.js';
import { type Ending, isFine } from '../records/ending.js';
import type { ChosenType, ForwardChange, ForwardTraffic, HostEvent } from '../records/event.js';
import { type ChannelReport, reportForward, type StatusReport } from '../records/reports.js';
import type { EventFilter } from './event-filter.js';
import { encodeEvent, Subscriber } from './subscriber.js';
import { Traffic } from './traffic.js';

/** Subscribers at once: each may make this process hold MAX_QUEUED_BYTES. */
export const MAX_SUBSCRIBERS = 16;

/** How often (ms) subscribers are asked whether they are there. */
const PING_MS = 30_000;

/** How often (ms) it is told what forwards have carried. */
const TRAFFIC_MS = 1_000;

/** RFC 6455, 7.4.1. */
const GOING_AWAY = 1001;

/** Who hears of what happens in a host, of as much as it likes. */
export interface HostObserver extends ConnectionObserver, ForwardObserver {
  /** It came up, or went down. */
  onChannel?(channel: ChannelReport): void;
}

/** A host, as far as it is watched. */
export interface ObservedHost {
  readonly forwards: ForwardTable;
  status(): StatusReport;
  /** Brings the forwards' counters up to date with what open connections have carried so far. */
  settle(): void;
  /** From now on `observer` hears of what happens. @returns ends that */
  observe(observer: HostObserver): () => void;
}

/** Tells subscribers what happens in a host. While there are none, nobody watches it, and nothing runs. */
export class EventHub implements HostObserver {
  readonly #host: ObservedHost;
  readonly #subscribers = new Set<Subscriber>();
  readonly #pingMs: number;
  #stopWatching: (() => void) | undefined;
  #pingTimer: NodeJS.Timeout | undefined;
  #trafficTimer: NodeJS.Timeout | undefined;
  #traffic = new Traffic();

  /** @param pingMs for tests */
  constructor(host: ObservedHost, pingMs = PING_MS) {
    this.#host = host;
    this.#pingMs = pingMs;
  }

  get size(): number {
    return this.#subscribers.size;
  }

  /** From now on, until it closes, what happens is told on this WebSocket: see Subscriber for how to make one. */
  subscribe(socket: WebSocket, filter: EventFilter): void {
    const subscriber = new Subscriber(socket, filter, (gone) => this.#remove(gone));
    this.#subscribers.add(subscriber);
    if (!this.#stopWatching) {
      this.#stopWatching = this.#host.observe(this);
      this.#pingTimer = setInterval(() => this.#ping(), this.#pingMs);
    }
    const { version, pid, channel } = this.#host.status();
    subscriber.send(encodeEvent({ type: 'hello', version, pid, time: now() }));
    if (subscriber.wants('channel')) subscriber.send(encodeEvent({ type: 'channel', time: now(), channel }));
    if (filter.traffic) this.#startTraffic();
  }

  /** Tells everybody that the host goes away, and lets them go. */
  close(): void {
    for (const subscriber of this.#subscribers) subscriber.close(GOING_AWAY, 'the host is stopping');
  }

  // ---- what happens ----------------------------------------------------------------------------------

  onOpened(record: ConnectionRecord): void {
    const { id } = record.forward;
    this.#tell('opened', () => ({ type: 'opened', time: now(), connection: record.report() }), id);
  }

  onEnded(record: ConnectionRecord, ending: Ending): void {
    const { id } = record.forward;
    const make = (): HostEvent => ({ type: 'ended', time: now(), connection: record.report() });
    this.#tell('ended', make, id, isFine(ending));
  }

  onListening(forward: Forward): void {
    this.#tellForward('added', forward);
  }

  onNoLonger(forward: Forward | Claim): void {
    this.#tellForward('removed', forward);
  }

  onFailed(claim: Claim): void {
    this.#tellForward('failed', claim);
  }

  onChannel(channel: ChannelReport): void {
    this.#tell('channel', () => ({ type: 'channel', time: now(), channel }));
  }

  #tellForward(change: ForwardChange, of: Forward | Claim): void {
    const forward = reportForward(of);
    this.#tell('forward', () => ({ type: 'forward', time: now(), change, forward }), forward.id);
  }

  /** One text is made for all who want it, if anybody does. */
  #tell(type: ChosenType, make: () => HostEvent, forward?: string, fine?: boolean): void {
    let text: Buffer | undefined;
    for (const subscriber of this.#subscribers) {
      if (!subscriber.wants(type, forward, fine)) continue;
      text ??= encodeEvent(make());
      subscriber.send(text);
    }
  }

  // ---- what is done while there are subscribers ------------------------------------------------------

  #remove(gone: Subscriber): void {
    this.#subscribers.delete(gone);
    if (![...this.#subscribers].some(({ filter }) => filter.traffic)) this.#stopTraffic();
    if (this.#subscribers.size > 0) return;
    clearInterval(this.#pingTimer);
    this.#stopWatching?.();
    this.#stopWatching = undefined;
  }

  #ping(): void {
    for (const subscriber of this.#subscribers) subscriber.ping();
  }

  #startTraffic(): void {
    if (this.#trafficTimer) return;
    this.#traffic = new Traffic();
    this.#lookAtTraffic();
    this.#trafficTimer = setInterval(() => this.#tellTraffic(), TRAFFIC_MS);
  }

  #stopTraffic(): void {
    clearInterval(this.#trafficTimer);
    this.#trafficTimer = undefined;
  }

  #lookAtTraffic(): ForwardTraffic[] {
    this.#host.settle();
    return this.#traffic.look(this.#host.forwards.list());
  }

  /** Those who want all forwards get the same text. */
  #tellTraffic(): void {
    const changed = this.#lookAtTraffic();
    let all: Buffer | undefined;
    for (const subscriber of this.#subscribers) {
      if (!subscriber.filter.traffic) continue;
      const some = changed.filter(({ id }) => subscriber.wantsForward(id));
      if (some.length === 0) continue;
      if (some.length < changed.length) subscriber.send(encodeTraffic(some));
      else {
        all ??= encodeTraffic(changed);
        subscriber.send(all);
      }
    }
  }
}

function encodeTraffic(forwards: ForwardTraffic[]): Buffer {
  return encodeEvent({ type: 'traffic', time: now(), forwards } satisfies HostEvent);
}

function now(): string {
  return new Date().toISOString();
}
