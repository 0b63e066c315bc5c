import { readdir } from 'node:fs/promises';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Forward, ForwardCounters } from '../forwards/forward.js';
import type { ConnectionRecord } from '../records/connection-record.js';
import type { ObservedHost } from './event-hub.js';
import { ForwardLabels } from './forward-labels.js';

/** How long (ms) after a scrape the event loop is still watched: that wakes the process again and again. */
const WATCHED_AFTER_SCRAPE_MS = 5 * 60_000;

/** How often (ms) its delay is looked at. */
const DELAY_RESOLUTION_MS = 20;

const MICROS_PER_SECOND = 1e6;
const NANOS_PER_SECOND = 1e9;
const MS_PER_SECOND = 1_000;

/** Bounds (s) of the histograms: from a dial within a machine to one that is given up. */
const BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5, 30];

/** Where a process sees its own file descriptors, on Linux and on macOS. */
const DESCRIPTORS = '/dev/fd';

/** What the process has of what is bounded. */
export interface HostResources {
  /** Bytes of the channel's budget for windows that are not promised to a stream; absent without a channel. */
  windowBudgetFree?: number;
  /** Infinity where there is no limit. */
  maxDescriptors: number;
  /** Clients at once. */
  maxClients: number;
}

/** A host, as far as it is measured. */
export interface MeasuredHost extends ObservedHost {
  resources(): HostResources;
}

/** What watches the event loop. */
export type LoopWatch = Pick<
  IntervalHistogram,
  'enable' | 'disable' | 'reset' | 'count' | 'mean' | 'max' | 'percentile'
>;

export interface MetricsOptions {
  /** Default: MAX_LABELLED_FORWARDS. */
  maxForwards?: number;
  /** How long (ms) after a scrape the event loop is still watched. Default: WATCHED_AFTER_SCRAPE_MS. */
  watchedMs?: number;
  loop?: LoopWatch;
}

const DIRECTIONS = ['to_guest', 'to_host'] as const;

/** What a connection has come to; those that were empty count as neither closed nor failed. */
const OUTCOMES = ['closed', 'refused', 'failed', 'empty'] as const;

/** What a forward has counted, of which a scrape adds what has grown since the one before. */
type Counts = Record<'closed', number> & Omit<ForwardCounters, 'active'>;

/**
 * `/metrics`. Nothing is watched before the first scrape: histograms have what came after it. Series are bounded, for
 * nothing that a peer can choose is a label but the forward, and of these MAX_LABELLED_FORWARDS have their own.
 */
export class HostMetrics {
  readonly #host: MeasuredHost;
  readonly #labels: ForwardLabels;
  readonly #registry = new Registry();
  readonly #seen = new WeakMap<Forward, Counts>();
  readonly #stopWatching: () => void;
  readonly #byForward: readonly { remove(labels: { forward: string }): void }[];
  readonly #loop: LoopWatch;
  readonly #idleTimer: NodeJS.Timeout;
  readonly #accepted = this.#counter('connections_total', 'Clients that have come.', ['forward']);
  readonly #ended = this.#counter('connections_ended_total', 'Connections and flows that are over.', [
    'forward',
    'outcome',
  ]);
  readonly #bytes = this.#counter('bytes_total', 'Payload that was carried.', ['forward', 'direction']);
  readonly #stalled = this.#counter(
    'stalled_seconds_total',
    'What connections together have stood still for, since the receiving end allowed no more.',
    ['forward', 'direction'],
  );
  readonly #dropped = this.#counter('datagrams_dropped_total', 'Datagrams that were not carried on.', [
    'forward',
  ]);
  readonly #active = this.#gauge('connections_active', 'Connections and flows that are open.', ['forward']);
  readonly #reconnects = this.#counter('channel_reconnects_total', 'Channels after the first one.');
  readonly #dial = this.#histogram('dial_seconds', "The guest's dial of the destination, where it tells.");
  readonly #firstByte = this.#histogram(
    'first_byte_seconds',
    'From the dial to the first byte of the server.',
  );
  readonly #info = this.#gauge('info', 'Always 1.', ['version', 'peer']);
  readonly #up = this.#gauge('channel_up', 'Whether the guest is connected.');
  readonly #roundTrip = this.#gauge(
    'channel_round_trip_seconds',
    'Between host and guest, where the guest answers pings.',
  );
  readonly #streams = this.#gauge('channel_streams', 'Streams that are open.');
  readonly #budget = this.#gauge('window_budget_free_bytes', 'What windows of streams may still grow by.');
  readonly #forwards = this.#gauge('forwards', 'Forwards, by whether they are listened on.', ['state']);
  readonly #descriptors = this.#gauge('open_descriptors', 'File descriptors that are open.');
  readonly #maxDescriptors = this.#gauge('max_descriptors', 'File descriptors that the process may have.');
  readonly #maxClients = this.#gauge('max_clients', 'Clients that can be served at once.');
  readonly #delay = this.#gauge('event_loop_delay_seconds', 'Since the scrape before.', ['statistic']);
  #reconnectsSeen = 0;

  /** @param options for tests */
  constructor(host: MeasuredHost, options: MetricsOptions = {}) {
    const { maxForwards, watchedMs = WATCHED_AFTER_SCRAPE_MS } = options;
    this.#host = host;
    this.#labels = new ForwardLabels(maxForwards);
    this.#loop = options.loop ?? monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS });
    this.#byForward = [this.#accepted, this.#dropped, this.#active];
    this.#stopWatching = host.observe({
      onDialled: (record) => observeTiming(this.#dial, record, 'guestDial'),
      onFirstByte: (record) => observeTiming(this.#firstByte, record, 'firstByte'),
    });
    this.#idleTimer = setTimeout(() => this.#loop.disable(), watchedMs).unref();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The text for Prometheus. */
  async scrape(): Promise<string> {
    this.#host.settle();
    this.#countForwards(this.#host.forwards.list());
    this.#lookAtChannel();
    this.#lookAtLoop();
    await this.#lookAtResources();
    return this.#registry.metrics();
  }

  /** Watches nothing any more. */
  close(): void {
    clearTimeout(this.#idleTimer);
    this.#loop.disable();
    this.#stopWatching();
  }

  // ---- what a scrape looks at ------------------------------------------------------------------------

  #countForwards(forwards: readonly Forward[]): void {
    const { labels, gone } = this.#labels.update(forwards);
    for (const forward of gone) this.#forget(forward);
    this.#active.reset();
    for (const [forward, label] of labels) {
      const now = countsOf(forward.counters);
      const before = this.#seen.get(forward);
      this.#seen.set(forward, now);
      this.#add(label, (key) => now[key] - (before?.[key] ?? 0));
      this.#active.inc({ forward: label }, forward.counters.active);
    }
  }

  #add(forward: string, grown: (key: keyof Counts) => number): void {
    this.#accepted.inc({ forward }, grown('connections'));
    for (const outcome of OUTCOMES) this.#ended.inc({ forward, outcome }, grown(outcome));
    this.#bytes.inc({ forward, direction: 'to_guest' }, grown('bytesToGuest'));
    this.#bytes.inc({ forward, direction: 'to_host' }, grown('bytesToHost'));
    this.#stalled.inc({ forward, direction: 'to_guest' }, grown('stalledMicrosToGuest') / MICROS_PER_SECOND);
    this.#stalled.inc({ forward, direction: 'to_host' }, grown('stalledMicrosToHost') / MICROS_PER_SECOND);
    this.#dropped.inc({ forward }, grown('dropped'));
  }

  #forget(forward: string): void {
    for (const metric of this.#byForward) metric.remove({ forward });
    for (const outcome of OUTCOMES) this.#ended.remove({ forward, outcome });
    for (const direction of DIRECTIONS)
      for (const metric of [this.#bytes, this.#stalled]) metric.remove({ forward, direction });
  }

  #lookAtChannel(): void {
    const { version, channel, forwards, failedForwards } = this.#host.status();
    this.#info.reset();
    // A peer says what it is: of that, only whether it is of the same version.
    const peer = channel.peer && (channel.peer.version === version ? 'same' : 'other');
    this.#info.set({ version, peer: peer ?? 'none' }, 1);
    this.#up.set(channel.state === 'connected' ? 1 : 0);
    setOrRemove(this.#roundTrip, channel.roundTripMs && channel.roundTripMs / MS_PER_SECOND);
    this.#streams.set(channel.streams);
    this.#reconnects.inc(channel.reconnects - this.#reconnectsSeen);
    this.#reconnectsSeen = channel.reconnects;
    this.#forwards.set({ state: 'listening' }, forwards);
    this.#forwards.set({ state: 'failed' }, failedForwards);
  }

  /** The first scrape begins it; a while after the last one it ends. */
  #lookAtLoop(): void {
    const { count, mean, max } = this.#loop;
    const measured = !this.#loop.enable() && count > 0;
    if (measured) {
      this.#delay.set({ statistic: 'mean' }, mean / NANOS_PER_SECOND);
      this.#delay.set({ statistic: 'p99' }, this.#loop.percentile(99) / NANOS_PER_SECOND);
      this.#delay.set({ statistic: 'max' }, max / NANOS_PER_SECOND);
    } else this.#delay.reset();
    this.#loop.reset();
    this.#idleTimer.refresh();
  }

  async #lookAtResources(): Promise<void> {
    const { windowBudgetFree, maxDescriptors, maxClients } = this.#host.resources();
    setOrRemove(this.#budget, windowBudgetFree);
    this.#maxDescriptors.set(maxDescriptors);
    this.#maxClients.set(maxClients);
    // The one that reads the folder is among them.
    this.#descriptors.set((await readdir(DESCRIPTORS)).length - 1);
  }

  // ---- making them -----------------------------------------------------------------------------------

  #describe<const L extends string>(name: string, help: string, labelNames: readonly L[]) {
    return { name: `portferry_${name}`, help, labelNames: [...labelNames], registers: [this.#registry] };
  }

  #counter<const L extends string = never>(
    name: string,
    help: string,
    labels: readonly L[] = [],
  ): Counter<L> {
    return new Counter(this.#describe(name, help, labels));
  }

  #gauge<const L extends string = never>(name: string, help: string, labels: readonly L[] = []): Gauge<L> {
    return new Gauge(this.#describe(name, help, labels));
  }

  #histogram(name: string, help: string): Histogram {
    return new Histogram({ ...this.#describe(name, help, []), buckets: BUCKETS });
  }
}

function countsOf({ active, ...counters }: ForwardCounters): Counts {
  const { connections, refused, failed, empty } = counters;
  return { ...counters, closed: connections - active - refused - failed - empty };
}

function observeTiming(histogram: Histogram, record: ConnectionRecord, step: string): void {
  const micros = record.timings()[step];
  if (micros !== undefined) histogram.observe(micros / MICROS_PER_SECOND);
}

function setOrRemove(gauge: Gauge, value: number | undefined): void {
  if (value === undefined) gauge.remove();
  else gauge.set(value);
}
