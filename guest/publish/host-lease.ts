import { Deadline } from '../../protocol/deadline.js';
import type { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { VpnkitPort } from '../../protocol/services/control.js';
import { isMeant } from '../../protocol/services/vpnkit-port.js';
import { ConnectionLost, ExposeError, type LeaseConnection } from './lease-connection.js';
import { LeaseLink, type LeaseSource, notWanted } from './lease-link.js';
import { LeaseLog } from './lease-log.js';
import { RequestQueue } from './request-queue.js';

/** From here on the fault is the host's, and may pass. */
const FIRST_FAULT = 500;

/** Who gives leases. */
export interface LeaseGiver extends LeaseSource {
  readonly log: LogLimiter;
  /** The host has answered as one that gives leases. */
  works(): void;
  closed(lease: HostLease): void;
}

/** A forward that somebody waits for. */
interface Attempt {
  readonly forward: VpnkitPort;
  /** It is not wanted any more. */
  withdrawn: boolean;
}

/**
 * What one publisher in the guest has on the host: forwards that live as long as the lease, by the service
 * portferry:control. While there is no channel they are remembered, and asked for again when there is one. One
 * request at a time: what the lease is said to hold must not leave out what is being exposed.
 */
export class HostLease {
  readonly #publisher: string;
  readonly #giver: LeaseGiver;
  readonly #link: LeaseLink;
  readonly #requests = new RequestQueue();
  readonly #log: LeaseLog;
  #published: readonly VpnkitPort[] = [];
  #exposed: VpnkitPort[] = [];
  readonly #attempts = new Set<Attempt>();
  /** Whether the host may not know the newest state. */
  #stale = false;
  #syncing = false;

  /** @param publisher says to people who it is: `docker`, say */
  constructor(publisher: string, giver: LeaseGiver) {
    this.#publisher = publisher;
    this.#giver = giver;
    this.#log = new LeaseLog(publisher, giver.log);
    this.#link = new LeaseLink(giver, () => this.#changed());
  }

  /**
   * Makes the lease's forwards those given, with as few requests as it takes. One that the host cannot bind
   * stays wanted, and the host tries again; what became of it is logged.
   */
  publish(forwards: readonly VpnkitPort[]): void {
    this.#published = [...forwards];
    this.#link.use();
    this.#changed();
  }

  /**
   * Adds one forward and waits until the host listens for it; it is not wanted any more when that fails.
   * @param wanted aborted when nobody waits for it any more: it is given up then
   * @returns it, with the port that was chosen where none was given
   * @throws ExposeError with the host's reason, or when there is no channel, or no answer
   */
  async expose(forward: VpnkitPort, wanted?: AbortSignal): Promise<VpnkitPort> {
    this.#link.use();
    const attempt: Attempt = { forward, withdrawn: wanted?.aborted === true };
    const withdraw = (): void => this.#withdraw(attempt);
    this.#attempts.add(attempt);
    wanted?.addEventListener('abort', withdraw);
    try {
      const { channelWaitMs } = this.#giver.times;
      return await Deadline.within(channelWaitMs, (deadline) => this.#exposeBy(deadline, attempt));
    } finally {
      this.#attempts.delete(attempt);
      wanted?.removeEventListener('abort', withdraw);
    }
  }

  /**
   * Removes one forward. Resolves when the host's port is free, or will be as soon as the host can be told.
   * @throws ExposeError when the host knows no such thing
   */
  async unexpose(forward: VpnkitPort): Promise<void> {
    for (const attempt of this.#attempts) if (isMeant(forward, attempt.forward)) this.#withdraw(attempt);
    this.#forget(forward);
    const removed = await this.#askIfConnected((connection) => remove(connection, forward));
    // What was being exposed meanwhile has gone from the host with it.
    this.#forget(forward);
    if (!removed) this.#changed();
  }

  /** What the host listens for; nothing without a channel, or from a host that does not answer. */
  async list(): Promise<VpnkitPort[]> {
    return (await this.#askIfConnected((connection) => connection.list(this.#held.length))) ?? [];
  }

  /** Gives up the lease, and its forwards with it. */
  close(): void {
    if (this.#link.closed) return;
    this.#giver.closed(this);
    this.#link.close();
  }

  /** There is a channel, which may be one that gives no leases. */
  onChannel(): void {
    this.#link.onChannel();
  }

  // ---- what is wanted --------------------------------------------------------------------------------

  get #held(): VpnkitPort[] {
    return [...this.#published, ...this.#exposed];
  }

  #forget(forward: VpnkitPort): void {
    const keep = (other: VpnkitPort): boolean => !isMeant(forward, other);
    this.#exposed = this.#exposed.filter(keep);
    this.#published = this.#published.filter(keep);
  }

  #withdraw(attempt: Attempt): void {
    attempt.withdrawn = true;
    this.#link.wake();
  }

  /** The host does not know the newest state: it is told, and what changes meanwhile, until it does. */
  #changed(): void {
    this.#stale = true;
    if (!this.#syncing) void this.#sync();
  }

  async #sync(): Promise<void> {
    this.#syncing = true;
    while (this.#stale && this.#link.connection && !this.#link.connection.ended)
      await this.#requests.take(() => this.#put());
    this.#syncing = false;
  }

  // ---- requests --------------------------------------------------------------------------------------

  async #put(): Promise<void> {
    const { connection } = this.#link;
    if (!connection) return;
    this.#stale = false;
    const forwards = this.#held;
    try {
      const outcomes = await within(this.#giver.times.publishTimeoutMs, connection, () =>
        connection.set({ publisher: this.#publisher, forwards }),
      );
      this.#giver.works();
      this.#log.taken(forwards, outcomes);
    } catch (thrown) {
      // The end of the channel, and that no lease is given, are told of elsewhere.
      const told = this.#link.closed || !this.#giver.up || this.#link.refusal !== undefined;
      if (thrown instanceof ExposeError || !told) this.#log.notTaken((thrown as Error).message);
      if (!(thrown instanceof ExposeError) || isFaultOfHost(thrown)) connection.close();
    }
  }

  async #exposeBy(deadline: Deadline, attempt: Attempt): Promise<VpnkitPort> {
    let lost: ConnectionLost | undefined;
    do {
      const connection = await this.#link.connected(deadline, () => !attempt.withdrawn);
      if (!connection) break;
      try {
        return await this.#exposeOn(connection, attempt, deadline);
      } catch (thrown) {
        if (!(thrown instanceof ConnectionLost)) throw thrown;
        // That its turn has not come again says less than what became of its turn before.
        lost = thrown instanceof Late ? (lost ?? thrown) : thrown;
      }
    } while (!deadline.over);
    throw this.#link.unavailable(lost);
  }

  #exposeOn(connection: LeaseConnection, attempt: Attempt, deadline: Deadline): Promise<VpnkitPort> {
    const expose = async (): Promise<VpnkitPort> => {
      if (attempt.withdrawn) throw notWanted();
      const exposed = await connection.expose(attempt.forward).catch((thrown: unknown) => {
        // The host may have done it all the same.
        if (isFaultOfHost(thrown)) this.#changed();
        throw thrown;
      });
      const had = this.#held.some((other) => isMeant(exposed, other));
      if (attempt.withdrawn) {
        // In the same turn: whoever comes next may want it again.
        if (!had && !(await remove(connection, exposed))) this.#changed();
        throw notWanted();
      }
      if (!had) this.#exposed.push(exposed);
      return exposed;
    };
    const { answerTimeoutMs } = this.#giver.times;
    return this.#requests.takeBy(deadline, () => within(answerTimeoutMs, connection, expose), late);
  }

  /** @returns undefined when there is no lease, or no answer in time */
  async #askIfConnected<T>(ask: (connection: LeaseConnection) => Promise<T>): Promise<T | undefined> {
    const { answerTimeoutMs } = this.#giver.times;
    const askNow = async (): Promise<T | undefined> => {
      const { connection } = this.#link;
      return connection && within(answerTimeoutMs, connection, () => ask(connection));
    };
    return Deadline.within(answerTimeoutMs, (deadline) =>
      this.#requests.takeBy(deadline, askNow, late),
    ).catch((thrown: unknown) => {
      if (thrown instanceof ConnectionLost) return undefined;
      throw thrown;
    });
  }
}

/** @returns whether the host has done it; where the fault is the host's, it is to be told the whole state again */
async function remove(connection: LeaseConnection, forward: VpnkitPort): Promise<boolean> {
  try {
    await connection.unexpose(forward);
    return true;
  } catch (thrown) {
    if (isFaultOfHost(thrown)) return false;
    throw thrown;
  }
}

/** What the host finds wrong it will not find right the next time; its own faults may pass. */
function isFaultOfHost(thrown: unknown): boolean {
  return thrown instanceof ExposeError && thrown.status >= FIRST_FAULT;
}

/** Gives up the stream when it takes longer than `ms`: nobody knows what the host has made of a request then. */
function within<T>(ms: number, connection: LeaseConnection, action: () => Promise<T>): Promise<T> {
  return Deadline.within(ms, ({ signal }) => {
    signal.addEventListener('abort', () => connection.close(`no answer within ${ms / 1000} s`));
    return action();
  });
}

/** A request's turn has not come in time. */
class Late extends ConnectionLost {}

function late(): Late {
  return new Late('it is still at work on what was published before');
}
