import type { RawSocket } from '../socket/raw-socket.js';
import type { Channel } from './channel.js';

/**
 * How long (ms) the present peer may take to give a sign of life while a newcomer waits for its place. Either kind
 * of peer answers within milliseconds, unless its machine is very busy; a person who has restarted a frozen guest
 * waits for its end.
 */
export const SIGN_OF_LIFE_TIMEOUT_MS = 1_500;

/** A peer that has just been found alive (ms) is not asked again: whoever connects in a loop costs it little. */
const ASK_PAUSE_MS = 250;

/**
 * Peers that connect while there is a channel. Mostly the present peer has been started anew or is frozen, and its
 * old connection stands only because nothing has told its end. So it is looked at: when it gives no sign of life, it
 * gives way; else it keeps its place, and the newcomer is turned away. One newcomer at a time waits for that.
 */
export class Newcomers {
  readonly #timeoutMs: number;
  readonly #onTurnedAway: (why: string) => void;
  #waiting: RawSocket | undefined;
  /** Which channel was found alive last, and when (ms). */
  #alive: { channel: Channel; at: number } | undefined;

  /**
   * @param timeoutMs how long the present peer may be silent
   * @param onTurnedAway is told why, for each newcomer that is turned away
   */
  constructor(timeoutMs: number, onTurnedAway: (why: string) => void) {
    this.#timeoutMs = timeoutMs;
    this.#onTurnedAway = onTurnedAway;
  }

  /** Whether one waits. */
  get waiting(): boolean {
    return this.#waiting !== undefined;
  }

  /**
   * A newcomer is there while `present`, whose handshake is complete, is the channel. When the channel ends, now
   * or because its peer is silent, the newcomer is to be had by take().
   */
  async arrived(socket: RawSocket, present: Channel): Promise<void> {
    if (this.#waiting) {
      this.#turnAway(socket, 'for another one waits already');
      return;
    }
    this.#waiting = socket;
    const alive = await this.#isAlive(present);
    // The channel may have ended by itself: then the newcomer has its place.
    if (this.#waiting !== socket) return;
    if (alive) {
      this.#waiting = undefined;
      this.#turnAway(socket, 'for that one answers');
    } else
      present.multiplexer.fail({
        code: 'PEER_SILENT',
        message: `the peer gave no sign of life for ${this.#timeoutMs / 1000} s while another one waited for its place`,
      });
  }

  /** Hands over the one that waits, if there is one. */
  take(): RawSocket | undefined {
    const socket = this.#waiting;
    this.#waiting = undefined;
    return socket;
  }

  async #isAlive(channel: Channel): Promise<boolean> {
    if (this.#alive?.channel === channel && performance.now() - this.#alive.at < ASK_PAUSE_MS) return true;
    if (!(await channel.givesSignOfLife(this.#timeoutMs))) return false;
    this.#alive = { channel, at: performance.now() };
    return true;
  }

  #turnAway(socket: RawSocket, why: string): void {
    socket.reset();
    this.#onTurnedAway(why);
  }
}
