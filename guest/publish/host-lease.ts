import { OperationError } from '../../protocol/errors.js';
import type { Logger } from '../../protocol/program/logger.js';
import {
  EXPOSE_PIPE_RESOURCE,
  EXPOSE_PORT_RESOURCE,
  LEASE_RESOURCE,
  type LeaseOutcome,
  type LeaseReport,
  LIST_RESOURCE,
  UNEXPOSE_PIPE_RESOURCE,
  UNEXPOSE_PORT_RESOURCE,
  type VpnkitPort,
} from '../../protocol/services/control.js';
import { describePort, isMeant } from '../../protocol/services/vpnkit-port.js';
import type { Lease } from './lease.js';
import { type Answer, ConnectionLost, type LeaseConnection } from './lease-connection.js';

const OK = 200;
const UNAVAILABLE = 503;
/** From here on the fault is the host's, and may pass. */
const FIRST_FAULT = 500;

/** The host does not listen for what it was asked for, or could not be asked; `status` is that of HTTP. */
export class ExposeError extends OperationError {
  override name = 'ExposeError';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** How long (ms) a lease may wait for what. */
export interface LeaseTimes {
  channelWaitMs: number;
  answerTimeoutMs: number;
  publishTimeoutMs: number;
  retryMs: number;
}

/** Where a lease gets its stream to the host. */
export interface LeaseSource {
  readonly logger: Logger;
  readonly times: LeaseTimes;
  readonly problem: string | undefined;
  /** @param onEnd told once, with the reason if no lease is given */
  connect(onEnd: (refusal: string | undefined) => void): LeaseConnection | undefined;
  works(): void;
  closed(lease: HostLease): void;
}

/** A forward that somebody waits for. */
interface Attempt {
  readonly forward: VpnkitPort;
  /** It is not wanted any more. */
  withdrawn: boolean;
}

/** A lease on the host, by the service portferry:control: one stream at a time, and one request on it. */
export class HostLease implements Lease {
  readonly #publisher: string;
  readonly #source: LeaseSource;
  #published: readonly VpnkitPort[] = [];
  #exposed: VpnkitPort[] = [];
  readonly #attempts = new Set<Attempt>();
  #connection: LeaseConnection | undefined;
  /** Why the host gave no lease when it was asked last. */
  #refusal: string | undefined;
  /** Whether the host may not know the newest state. */
  #stale = false;
  #syncing = false;
  /** Whether anything was ever asked of it. */
  #used = false;
  #closed = false;
  #retryTimer: NodeJS.Timeout | undefined;
  /** Whoever asks next waits for this. */
  #turn: Promise<unknown> = Promise.resolve();
  /** What is told of a change: a connection, a problem, the end. */
  readonly #waiters = new Set<() => void>();
  /** Why the host did not take the newest state, as the log has last told it. */
  #complaint: string | undefined;
  /** What the log has last told of a forward that is not listened on. */
  #logged = new Map<string, string>();

  constructor(publisher: string, source: LeaseSource) {
    this.#publisher = publisher;
    this.#source = source;
  }

  publish(forwards: readonly VpnkitPort[]): void {
    this.#published = [...forwards];
    this.#stale = true;
    this.#use();
    void this.#sync();
  }

  async expose(forward: VpnkitPort, wanted?: AbortSignal): Promise<VpnkitPort> {
    this.#use();
    const attempt: Attempt = { forward, withdrawn: wanted?.aborted === true };
    const withdraw = (): void => this.#withdraw(attempt);
    this.#attempts.add(attempt);
    wanted?.addEventListener('abort', withdraw);
    try {
      const exposed = await this.#exposeInTime(attempt);
      if (!attempt.withdrawn) return exposed;
      await this.unexpose(exposed);
      throw notWanted();
    } finally {
      this.#attempts.delete(attempt);
      wanted?.removeEventListener('abort', withdraw);
    }
  }

  async unexpose(forward: VpnkitPort): Promise<void> {
    for (const attempt of this.#attempts) if (isMeant(forward, attempt.forward)) this.#withdraw(attempt);
    this.#forget(forward);
    const resource = forward.proto === 'unix' ? UNEXPOSE_PIPE_RESOURCE : UNEXPOSE_PORT_RESOURCE;
    await this.#askIfConnected('DELETE', resource, forward);
    // What was being exposed meanwhile has gone from the host with it.
    this.#forget(forward);
  }

  /** What the host listens for; nothing without a channel. */
  async list(): Promise<VpnkitPort[]> {
    return ((await this.#askIfConnected('GET', LIST_RESOURCE)) ?? []) as VpnkitPort[];
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    this.#source.closed(this);
    this.#connection?.close();
    this.#wake();
  }

  /** There is a channel, which may be one that gives no leases. */
  onChannel(): void {
    if (this.#used) this.#connect();
    this.#wake();
  }

  // ---- the stream ------------------------------------------------------------------------------------

  #use(): void {
    this.#used = true;
    if (!this.#connection) this.#connect();
  }

  #connect(): void {
    clearTimeout(this.#retryTimer);
    if (this.#closed) return;
    const connection = this.#source.connect((refusal) => this.#onEnd(connection, refusal));
    this.#connection = connection;
    if (!connection) return;
    this.#stale = true;
    void this.#sync();
    this.#wake();
  }

  #onEnd(connection: LeaseConnection | undefined, refusal: string | undefined): void {
    // A channel that is there again has given another one already.
    if (connection !== this.#connection) return;
    this.#refusal = refusal;
    this.#connection = undefined;
    this.#wake();
    if (!this.#closed) this.#retryTimer = setTimeout(() => this.#connect(), this.#source.times.retryMs);
  }

  /** @param lost what became of the last try, if there was one */
  async #connected(
    deadline: number,
    attempt: Attempt,
    lost: ConnectionLost | undefined,
  ): Promise<LeaseConnection> {
    for (;;) {
      if (this.#closed || attempt.withdrawn) throw notWanted();
      if (this.#source.problem !== undefined) throw new ExposeError(UNAVAILABLE, this.#source.problem);
      if (this.#connection && !this.#connection.ended) return this.#connection;
      const left = deadline - performance.now();
      if (left <= 0) {
        if (lost) throw this.#notAnswered(lost);
        const seconds = this.#source.times.channelWaitMs / 1000;
        const why = this.#refusal
          ? `the host has granted nothing for ${seconds} s: ${this.#refusal}`
          : `there has been no channel to the host for ${seconds} s: start or check portferry host`;
        throw new ExposeError(UNAVAILABLE, why);
      }
      await this.#changeWithin(left);
    }
  }

  #changeWithin(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#waiters.add(done);
    });
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }

  // ---- requests --------------------------------------------------------------------------------------

  async #exposeInTime(attempt: Attempt): Promise<VpnkitPort> {
    const { channelWaitMs, answerTimeoutMs } = this.#source.times;
    const deadline = performance.now() + channelWaitMs;
    let lost: ConnectionLost | undefined;
    for (;;) {
      const connection = await this.#connected(deadline, attempt, lost);
      const action = (): Promise<VpnkitPort> =>
        this.#within(answerTimeoutMs, () => this.#exposeOn(connection, attempt.forward));
      try {
        return await this.#inTurnBy(deadline, action);
      } catch (thrown) {
        if (!(thrown instanceof ConnectionLost)) throw thrown;
        if (performance.now() >= deadline) throw this.#notAnswered(thrown);
        lost = thrown;
      }
    }
  }

  #notAnswered(lost: ConnectionLost): ExposeError {
    const why = this.#refusal
      ? `the host gives no lease: ${this.#refusal}`
      : `the host has not answered: ${lost.message}`;
    return new ExposeError(UNAVAILABLE, why);
  }

  #withdraw(attempt: Attempt): void {
    attempt.withdrawn = true;
    this.#wake();
  }

  #forget(forward: VpnkitPort): void {
    const keep = (other: VpnkitPort): boolean => !isMeant(forward, other);
    this.#exposed = this.#exposed.filter(keep);
    this.#published = this.#published.filter(keep);
  }

  /** One request at a time: what the lease is said to hold must not leave out what is being exposed. */
  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const outcome = this.#turn.then(action);
    this.#turn = outcome.catch(() => undefined);
    return outcome;
  }

  /** @throws ConnectionLost when its turn has not come by `deadline`; it is not done after that */
  #inTurnBy<T>(deadline: number, action: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const late = (): void => reject(new ConnectionLost('it is still at work on what was published before'));
      const timer = setTimeout(late, deadline - performance.now());
      const start = async (): Promise<void> => {
        clearTimeout(timer);
        if (performance.now() >= deadline) late();
        else await action().then(resolve, reject);
      };
      void this.#inTurn(start);
    });
  }

  /** Tells the host the whole state, and what has changed meanwhile, until it knows the newest. */
  async #sync(): Promise<void> {
    if (this.#syncing) return;
    this.#syncing = true;
    while (this.#stale && this.#connection && !this.#connection.ended) await this.#inTurn(() => this.#put());
    this.#syncing = false;
  }

  async #put(): Promise<void> {
    const connection = this.#connection;
    if (!connection) return;
    this.#stale = false;
    const forwards = [...this.#published, ...this.#exposed];
    try {
      const request = { publisher: this.#publisher, forwards };
      const answer = await this.#within(this.#source.times.publishTimeoutMs, () =>
        connection.request('PUT', LEASE_RESOURCE, request),
      );
      if (answer.status !== OK) throw refusalOf(answer);
      this.#source.works();
      this.#complaint = undefined;
      this.#logOutcomes(forwards, (answer.body as LeaseReport).forwards);
    } catch (thrown) {
      // The end of the stream is told of elsewhere.
      if (thrown instanceof ExposeError) this.#complain(thrown.message);
      // What the host finds wrong it will not find right the next time.
      if (!(thrown instanceof ExposeError) || thrown.status >= FIRST_FAULT) connection.close();
    }
  }

  #complain(message: string): void {
    if (message !== this.#complaint)
      this.#source.logger.warn(
        { publisher: this.#publisher },
        `the host has not taken what ${this.#publisher} publishes: ${message}`,
      );
    this.#complaint = message;
  }

  async #exposeOn(connection: LeaseConnection, forward: VpnkitPort): Promise<VpnkitPort> {
    const resource = forward.proto === 'unix' ? EXPOSE_PIPE_RESOURCE : EXPOSE_PORT_RESOURCE;
    const answer = await connection.request('PUT', resource, forward);
    if (answer.status !== OK) throw refusalOf(answer);
    const exposed = answer.body as VpnkitPort;
    if (!this.#exposed.some((other) => isMeant(exposed, other))) this.#exposed.push(exposed);
    return exposed;
  }

  /** @returns the answer's body; undefined when there is no lease, so that nothing is left to be done */
  #askIfConnected(method: string, resource: string, body?: VpnkitPort): Promise<unknown> {
    const ask = async (): Promise<unknown> => {
      const connection = this.#connection;
      if (!connection) return undefined;
      try {
        const answer = await connection.request(method, resource, body);
        if (answer.status !== OK) throw refusalOf(answer);
        return answer.body;
      } catch (thrown) {
        if (thrown instanceof ConnectionLost) return undefined;
        throw thrown;
      }
    };
    return this.#inTurn(() => this.#within(this.#source.times.answerTimeoutMs, ask));
  }

  /** Gives up the stream when it takes longer than `ms`: nobody knows what the host has made of a request then. */
  async #within<T>(ms: number, action: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.#connection?.close(`no answer within ${ms / 1000} s`), ms);
    try {
      return await action();
    } finally {
      clearTimeout(timer);
    }
  }

  // ---- the log ---------------------------------------------------------------------------------------

  #logOutcomes(forwards: readonly VpnkitPort[], outcomes: readonly LeaseOutcome[]): void {
    const logged = new Map<string, string>();
    for (const [index, forward] of forwards.entries()) {
      const { state, message = '', code } = outcomes[index] ?? { state: 'failed' };
      const name = describePort(forward);
      const before = this.#logged.get(name);
      const context = { publisher: this.#publisher, forward: name };
      if (state === 'listening') {
        if (before !== undefined) this.#source.logger.info(context, 'the host listens now');
        continue;
      }
      logged.set(name, message);
      if (message !== before)
        this.#source.logger.warn(
          { ...context, errno: code },
          `the host does not listen (${state}): ${message}`,
        );
    }
    this.#logged = logged;
  }
}

function notWanted(): ExposeError {
  return new ExposeError(UNAVAILABLE, 'the forward is not wanted any more');
}

function refusalOf({ status, body }: Answer): ExposeError {
  const { message } = (body ?? {}) as { message?: unknown };
  return new ExposeError(
    status,
    typeof message === 'string' ? message : `the host has answered with ${status}`,
  );
}
