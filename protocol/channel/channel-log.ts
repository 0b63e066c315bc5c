import { parseJson } from '../bounded-json.js';
import { LogLimiter } from '../program/log-limiter.js';
import type { Logger } from '../program/logger.js';
import type { Reason } from '../wire/extension.js';
import { type PeerIdentity, withoutControls } from '../wire/handshake.js';
import { differenceInFeatures } from '../wire/missing-features.js';

/** Lines of a channel's command that are logged one by one each minute; what comes after them is counted. */
const COMMAND_LINES = 30;

/** Values in a line of a log: portferry's own have a dozen. */
const MAX_LINE_VALUES = 64;

/** How a channel ends whose peer has left: it may have left before it has read the last that was sent to it. */
const LEFT_CODES: readonly (string | undefined)[] = ['CHANNEL_CLOSED', 'ECONNRESET', 'EPIPE'];

/**
 * What the log says of a channel. Each outage is a warning once, however often it is tried to end it. Whoever can
 * reach the channel's address can connect and misbehave again and again: equal lines are summed up.
 */
export class ChannelLog {
  readonly #lines: LogLimiter;
  readonly #commandLines: LogLimiter;
  /** Whether the present outage has been logged. */
  #outageLogged = false;
  /** When (ms) the channel was lost; undefined while it is there, and before the first one. */
  #lostAt: number | undefined;
  /** Why the peer that there is, or was last, has said that it leaves. */
  #leaving: Reason | undefined;

  constructor(logger: Logger) {
    this.#lines = new LogLimiter(logger);
    this.#commandLines = new LogLimiter(logger, { linesPerInterval: COMMAND_LINES });
  }

  /**
   * @param own this end's version
   * @param toll what its not being there has cost, for people
   */
  up(peer: PeerIdentity, own: string, toll?: string): void {
    const { version, features } = peer;
    this.#outageLogged = false;
    this.#leaving = undefined;
    const who = version === undefined ? 'a plain peer' : `portferry ${version}`;
    const lost = this.#lostAt;
    this.#lostAt = undefined;
    const after = lost === undefined ? '' : `, again after ${formatSeconds(performance.now() - lost)}`;
    const cost = toll === undefined ? '' : `: ${toll} meanwhile`;
    this.#lines.log(
      'info',
      'up',
      { features: [...features] },
      `the channel is up, with ${who}${after}${cost}`,
    );
    const difference = differenceInFeatures(peer, own);
    if (difference !== undefined) this.#lines.log('warn', 'lacks features', {}, difference);
  }

  /**
   * There is no channel.
   * @param next what is done about it
   * @param wasUp whether there was one
   * @returns whether the peer had said before that it leaves
   */
  down(message: string, code: string | undefined, address: string, next: string, wasUp = false): boolean {
    if (wasUp) this.#lostAt = performance.now();
    const misbehaved = code !== undefined && code !== 'CHANNEL_CLOSED' && !/^E[A-Z]+$/.test(code);
    // That a peer leaves as it has said is no failure.
    const left = LEFT_CODES.includes(code) ? this.#leaving?.message : undefined;
    const level = left !== undefined ? 'info' : this.#outageLogged && !misbehaved ? 'debug' : 'warn';
    this.#leaving = undefined;
    this.#outageLogged = true;
    const why = left ?? message;
    this.#lines.log(level, `down ${level} ${code}`, { code, address }, `no channel: ${why}; ${next}`);
    return left !== undefined;
  }

  /** @param waits whether it takes a while, for connections are in use: else its end tells all */
  goingAway(reason: Reason, waits: boolean): void {
    this.#leaving = reason;
    this.#lines.log(
      waits ? 'info' : 'debug',
      'going away',
      { reason },
      `the peer takes no new streams: ${reason.message}`,
    );
  }

  /** A line that the command of the channel has written to standard error. */
  commandSaid(line: string): void {
    this.#commandLines.log('info', 'command', {}, `the channel's command says: ${messageIn(line)}`);
  }

  /** A connection was not taken. Whoever may not connect may try it again and again. */
  notAccepted(err: Error): void {
    this.#lines.log(
      'error',
      'not accepted',
      { err },
      `cannot accept a channel (${err.message}); listening goes on`,
    );
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
    this.#commandLines.flush();
  }
}

function formatSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** The lines of a guest's log are JSON objects; what they say is in one member. */
function messageIn(line: string): string {
  if (!line.startsWith('{')) return line;
  try {
    const { msg } = parseJson('a line', Buffer.from(line), MAX_LINE_VALUES) as { msg?: unknown };
    return typeof msg === 'string' ? withoutControls(msg) : line;
  } catch {
    return line;
  }
}
