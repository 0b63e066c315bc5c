import type { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { LeaseOutcome, VpnkitPort } from '../../protocol/services/control.js';
import { describePort } from '../../protocol/services/vpnkit-port.js';

/**
 * What the log says of one lease: each change once, not each time it is asked for again. A host that has
 * something new to say each time is summed up.
 */
export class LeaseLog {
  readonly #publisher: string;
  readonly #log: LogLimiter;
  /** Why the host did not take what is published, as it was told last. */
  #complaint: string | undefined;
  /** What was told last of each forward that is not listened on. */
  #told = new Map<string, string>();

  /** @param publisher for people */
  constructor(publisher: string, log: LogLimiter) {
    this.#publisher = publisher;
    this.#log = log;
  }

  /** The host has not taken what is published. */
  notTaken(message: string): void {
    const publisher = this.#publisher;
    if (message !== this.#complaint)
      this.#log.log(
        'warn',
        `not taken from ${publisher}`,
        { publisher },
        `the host has not taken what ${publisher} publishes: ${message}`,
      );
    this.#complaint = message;
  }

  /** The host has taken what is published; `outcomes` are those of `forwards`, in their order. */
  taken(forwards: readonly VpnkitPort[], outcomes: readonly LeaseOutcome[]): void {
    this.#complaint = undefined;
    const told = new Map<string, string>();
    for (const [index, forward] of forwards.entries()) {
      const { state, message = '', code } = outcomes[index] as LeaseOutcome;
      const name = describePort(forward);
      const before = this.#told.get(name);
      const context = { publisher: this.#publisher, forward: name };
      if (state === 'listening') {
        if (before !== undefined) this.#log.log('info', `${name} listening`, context, 'the host listens now');
        continue;
      }
      told.set(name, message);
      if (message !== before)
        this.#log.log(
          'warn',
          `${name} ${state} ${code}`,
          { ...context, errno: code },
          `the host does not listen (${state}): ${message}`,
        );
    }
    this.#told = told;
  }
}
