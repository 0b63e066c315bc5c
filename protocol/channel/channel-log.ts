import { LogLimiter } from '../program/log-limiter.js';
import type { Logger } from '../program/logger.js';
import type { Reason } from '../wire/extension.js';
import type { PeerIdentity } from '../wire/handshake.js';

/**
 * What the log says of a channel. Each outage is a warning once, however often it is tried to end it. Whoever can
 * reach the channel's address can connect and misbehave again and again: equal lines are summed up.
 */
export class ChannelLog {
  readonly #lines: LogLimiter;
  /** Whether the present outage has been logged. */
  #outageLogged = false;
  /** Why the peer that there is, or was last, has said that it leaves. */
  #leaving: Reason | undefined;

  constructor(logger: Logger) {
    this.#lines = new LogLimiter(logger);
  }

  up({ version, features }: PeerIdentity): void {
    this.#outageLogged = false;
    this.#leaving = undefined;
    const who = version === undefined ? 'a plain peer' : `portferry ${version}`;
    this.#lines.log('info', 'up', { features: [...features] }, `the channel is up, with ${who}`);
  }

  /**
   * There is no channel.
   * @param next what is done about it
   */
  down(message: string, code: string | undefined, address: string, next: string): void {
    const misbehaved = code !== undefined && code !== 'CHANNEL_CLOSED' && !/^E[A-Z]+$/.test(code);
    // That a peer leaves as it has said is no failure.
    const left = this.#leaving && code === 'CHANNEL_CLOSED' ? this.#leaving.message : undefined;
    const level = left !== undefined ? 'info' : this.#outageLogged && !misbehaved ? 'debug' : 'warn';
    this.#leaving = undefined;
    this.#outageLogged = true;
    const why = left ?? message;
    this.#lines.log(level, `down ${level} ${code}`, { code, address }, `no channel: ${why}; ${next}`);
  }

  goingAway(reason: Reason): void {
    this.#leaving = reason;
    this.#lines.log('info', 'going away', { reason }, `the peer takes no new streams: ${reason.message}`);
  }

  turnedAway(why: string): void {
    this.#lines.log(
      'warn',
      'turned away',
      {},
      `a second peer wanted to be the channel while one is live: turned away, ${why}`,
    );
  }

  /** An error of ours has ended the channel. A peer may be able to bring it about again and again. */
  bug(err: unknown, reason: Reason): void {
    this.#lines.log(
      'error',
      'bug',
      { err },
      `a bug of portferry has ended the channel: ${reason.message}; please report it, with this line`,
    );
  }

  /** At the end: tells what was only counted. */
  flush(): void {
    this.#lines.flush();
  }
}
