import { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { Logger } from '../../protocol/program/logger.js';
import { type Look, NOBODY } from '../listen/port-guard.js';
import { formatRule } from '../rule/forward-rule.js';
import type { Bound } from './bound.js';
import { type Claim, type Holder, RUNTIME } from './claim.js';
import { forwardId } from './forward.js';
import type { ForwardTeller } from './forward-observer.js';
import type { HostEnds } from './host-ends.js';
import type { ListenFailure } from './listen-failure.js';
import { GUEST_LINES_PER_MINUTE, type Listening } from './listening.js';
import { inSlices, type Turns } from './turns.js';

/** How often (ms) the host tries again to listen where it could not. */
const RETRY_MS = 2_000;

/** Failed forwards that are tried each time: with more of them each is tried less often, and at the same cost. */
export const RETRIES_AT_ONCE = 256;

export interface AttemptsOptions {
  listening: Listening;
  turns: Turns;
  /** All claims there are. */
  claims: HostEnds<Claim>;
  logger: Logger;
  /** Is told of claims that fail. */
  observer: ForwardTeller;
  /** How often (ms) it is tried again to listen where that has failed. Default: RETRY_MS. */
  retryMs?: number | undefined;
}

/** Listens for claims, each by itself, and tries again where that has failed. */
export class Attempts {
  readonly #options: AttemptsOptions;
  readonly #limited: LogLimiter;
  /** Those that are tried again, and why the last attempt has failed; first the one that is tried next. */
  readonly #failed = new Map<Claim, string>();
  #retryTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: AttemptsOptions) {
    this.#options = options;
    this.#limited = new LogLimiter(options.logger, { linesPerInterval: GUEST_LINES_PER_MINUTE });
  }

  /**
   * Tries to listen for those claims that are due, some in each turn.
   * @param persistent whether one that fails is tried again; else it is not, unless it was already
   */
  async try(claims: readonly Claim[], persistent: boolean): Promise<void> {
    const due = claims.filter((claim) => claim.due);
    const rules = due.map(({ asked }) => asked);
    const { listening } = this.#options;
    const look = listening.looks ? await listening.look(rules, false) : NOBODY;
    const failures: [Claim, ListenFailure][] = [];
    for (const some of inSlices(due))
      failures.push(...(await this.#options.turns.take(() => this.#open(some, look), false)));
    await Promise.all(failures.map(([claim, failure]) => this.#fail(claim, failure, persistent)));
    this.#retryLater();
  }

  /** Tries again, now, those of some claims that have failed. */
  retry(claims: Iterable<Claim>): void {
    void this.try(
      [...claims].filter((claim) => this.#failed.has(claim)),
      true,
    );
  }

  /**
   * It is listened on.
   * @returns for whom it is that had been told that it is not; undefined where that need not be said any more
   */
  grant(claim: Claim, bound: Bound): string | undefined {
    const { forward } = bound;
    bound.claims.add(claim);
    claim.granted(forward);
    this.#options.claims.set(claim, forward.rule);
    if (!this.#failed.delete(claim)) return undefined;
    const { holder } = claim;
    // Where it serves nobody yet, the line that says it begins to says this, too.
    if (!this.#options.listening.find(forward.rule)) return nameOf(holder);
    this.#log(
      'info',
      holder,
      'listening now',
      { forward: forward.id },
      `listening for ${nameOf(holder)} now`,
    );
    return undefined;
  }

  /** It is not to be listened on any more. */
  forget(claim: Claim): void {
    this.#failed.delete(claim);
  }

  /** Tries no more. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    this.#limited.flush();
  }

  /** @returns why some of them are not listened on */
  async #open(claims: readonly Claim[], look: Look): Promise<[Claim, ListenFailure][]> {
    const { listening } = this.#options;
    const failures: [Claim, ListenFailure][] = [];
    const opened = new Map<string, Bound>();
    const bounds = new Map<Claim, Bound>();
    for (const claim of claims) {
      if (this.#closed || !claim.due) continue;
      try {
        const known = listening.find(claim.asked) ?? opened.get(formatRule(claim.asked));
        const bound = known ?? (await listening.open(claim.asked, look));
        if (!known) opened.set(formatRule(bound.forward.rule), bound);
        bounds.set(claim, bound);
      } catch (thrown) {
        failures.push([claim, thrown as ListenFailure]);
      }
    }
    const waiters = new Map<Bound, string>();
    const taken = await listening.confirm([...opened.values()]);
    for (const [claim, bound] of bounds) {
      const failure = taken.get(bound);
      if (failure) failures.push([claim, failure]);
      // Meanwhile it may have been given up.
      else if (claim.due) {
        const waited = this.grant(claim, bound);
        if (waited !== undefined) waiters.set(bound, waited);
      }
    }
    for (const bound of opened.values())
      if (bound.claims.size === 0) await listening.close([bound]);
      else listening.start(bound, waiters.get(bound));
    return failures;
  }

  async #fail(claim: Claim, failure: ListenFailure, persistent: boolean): Promise<void> {
    const { message, code } = failure;
    // The same again is neither looked into nor told again.
    if (!claim.due || this.#failed.get(claim) === message) return;
    if (persistent) this.#failed.set(claim, message);
    claim.failed({ message, code });
    const explained = await this.#options.listening.explain(failure, claim.holder === RUNTIME);
    if (!claim.due) return;
    claim.failed({ message: explained, code });
    this.#options.observer.onFailed(claim);
    if (persistent) this.#logFailure(claim, explained, code);
  }

  #logFailure({ asked, holder }: Claim, message: string, code: string | undefined): void {
    const { publisher } = holder;
    const fields = { forward: forwardId(asked), ...(publisher !== undefined && { publisher }), errno: code };
    const line = `not listening for ${nameOf(holder)}: ${message} (it is tried again)`;
    this.#log('warn', holder, `not listening ${code}`, fields, line);
  }

  #retryLater(): void {
    if (this.#closed || this.#failed.size === 0) return;
    this.#retryTimer ??= setTimeout(() => {
      const some = [...this.#failed].slice(0, RETRIES_AT_ONCE);
      for (const [claim, message] of some) {
        this.#failed.delete(claim);
        this.#failed.set(claim, message);
      }
      const claims = some.map(([claim]) => claim);
      void this.try(claims, true).then(() => {
        this.#retryTimer = undefined;
        this.#retryLater();
      });
    }, this.#options.retryMs ?? RETRY_MS);
  }

  /** What guests can make happen again and again does not fill the log. */
  #log(level: 'info' | 'warn', holder: Holder, kind: string, fields: object, message: string): void {
    if (holder.origin === 'published') this.#limited.log(level, kind, fields, message);
    else this.#options.logger[level](fields, message);
  }
}

function nameOf({ publisher }: Holder): string {
  return publisher ?? 'the user';
}
