import { StreamDuplex, type StreamError } from '../../protocol/duplex.js';
import { messageOf } from '../../protocol/errors.js';
import type { Multiplexer } from '../../protocol/multiplexer.js';
import { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { Logger } from '../../protocol/program/logger.js';
import { CONTROL_SERVICE } from '../../protocol/services/control.js';
import { HostLease, type LeaseGiver } from './host-lease.js';
import { LeaseConnection } from './lease-connection.js';
import type { LeaseTimes } from './lease-link.js';

/** How long (ms) who asks for a forward waits for a channel: dockerd gives up a port's proxy after 16 s. */
const LEASE_CHANNEL_WAIT_MS = 10_000;

/** How long (ms) the host may take to answer who waits for a forward. */
const LEASE_ANSWER_TIMEOUT_MS = 5_000;

/** How long (ms) the host may take to make all of a lease's forwards; 10,000 take a few seconds. */
const LEASE_PUBLISH_TIMEOUT_MS = 30_000;

/** How long (ms) a publisher waits before it asks again, when its lease has ended and the channel has not. */
const LEASE_RETRY_MS = 1_000;

const TIMES: LeaseTimes = {
  channelWaitMs: LEASE_CHANNEL_WAIT_MS,
  answerTimeoutMs: LEASE_ANSWER_TIMEOUT_MS,
  publishTimeoutMs: LEASE_PUBLISH_TIMEOUT_MS,
  retryMs: LEASE_RETRY_MS,
};

/** The host's code for a service that it has, and cannot serve at present. */
const BUSY = 'EAGAIN';

/** The host as publishers in the guest see it: who gives leases, while there is a channel and without one. */
export class HostControl implements LeaseGiver {
  readonly log: LogLimiter;
  readonly times: LeaseTimes;
  readonly #leases = new Set<HostLease>();
  #multiplexer: Multiplexer | undefined;
  #problem: string | undefined;
  /** The problem that was logged last, until there is a host without one. */
  #logged: string | undefined;
  #closed = false;

  constructor(logger: Logger, times: Partial<LeaseTimes> = {}) {
    this.log = new LogLimiter(logger);
    this.times = { ...TIMES, ...times };
  }

  /** Where a publisher gets its lease, whether there is a channel or not. */
  readonly openLease = (publisher: string): HostLease => {
    const lease = new HostLease(publisher, this);
    this.#leases.add(lease);
    if (this.#closed) lease.close();
    return lease;
  };

  /** There is a channel: what is wanted is asked for, again. */
  onUp(multiplexer: Multiplexer): void {
    this.#multiplexer = multiplexer;
    this.#problem = undefined;
    if (multiplexer.peer?.version === undefined)
      this.#problem =
        'the host is no portferry, but vpnkit-forwarder or alike, which takes no forwards from the guest';
    for (const lease of this.#leases) lease.onChannel();
  }

  /** The channel is gone, and every lease's stream with it. */
  onDown(): void {
    this.#multiplexer = undefined;
    this.#problem = undefined;
  }

  /** Gives up all leases, for good. */
  close(): void {
    this.#closed = true;
    for (const lease of this.#leases) lease.close();
    this.log.flush();
  }

  // ---- what a lease needs ----------------------------------------------------------------------------

  /** Why no lease can be had of the host that is there; undefined while there is none. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Whether there is a channel. */
  get up(): boolean {
    return this.#multiplexer !== undefined;
  }

  /** A new stream; undefined when none can be had now. */
  connect(onEnd: (refusal: string | undefined) => void): LeaseConnection | undefined {
    const multiplexer = this.#multiplexer;
    if (this.#problem !== undefined) this.#warn(this.#problem);
    if (!multiplexer?.takesStreams || this.#problem !== undefined) return undefined;
    try {
      const duplex = new StreamDuplex((handler) =>
        multiplexer.open({ proto: 'unix', path: CONTROL_SERVICE }, handler),
      );
      return new LeaseConnection(duplex, (refusal) => {
        if (refusal && multiplexer === this.#multiplexer) this.#refused(refusal);
        onEnd(refusal?.message);
      });
    } catch (thrown) {
      const why = messageOf(thrown);
      this.log.log('warn', 'no lease', {}, `no lease can be had of the host, and is asked for again: ${why}`);
      queueMicrotask(() => onEnd(why));
      return undefined;
    }
  }

  /** The host has answered as one that gives leases. */
  works(): void {
    this.#logged = undefined;
  }

  closed(lease: HostLease): void {
    this.#leases.delete(lease);
  }

  #refused({ code, message }: StreamError): void {
    if (code === BUSY) {
      this.#warn(message);
      return;
    }
    this.#problem = `the host takes no forwards from the guest: ${message}`;
    this.#warn(this.#problem);
  }

  #warn(problem: string): void {
    if (problem !== this.#logged)
      this.log.log('warn', 'a problem', {}, `what the guest publishes is not forwarded: ${problem}`);
    this.#logged = problem;
  }
}
