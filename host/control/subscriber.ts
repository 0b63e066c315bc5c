import type { WebSocket } from 'ws';
import type { ChosenType, LostEvent } from '../records/event.js';
import type { EventFilter } from './event-filter.js';

/** What may wait (bytes) for a subscriber that reads slowly; what comes then is left out, and counted. */
export const MAX_QUEUED_BYTES = 1024 * 1024;

/** When so much of it has been read, it goes on. */
const GOES_ON_BELOW_BYTES = MAX_QUEUED_BYTES / 2;

/** The longest message (bytes) that is read from a subscriber, which has nothing to say: give it to the WebSocket. */
export const MAX_MESSAGE_BYTES = 1024;

/** Codes of RFC 6455, 7.4.1. */
const POLICY_VIOLATION = 1008;

/**
 * One who hears of events, over any WebSocket of ws. Make that with `autoPong: false` and MAX_MESSAGE_BYTES, so that it
 * cannot make this process hold more than it takes. A slow one is told how many events were left out, and delays nobody.
 */
export class Subscriber {
  readonly filter: EventFilter;
  readonly #socket: WebSocket;
  readonly #onSent = (): void => this.#goOn();
  /** Events that were left out since the last message. */
  #lost = 0;
  #alive = true;

  /** @param onGone told once, when it hears no more */
  constructor(socket: WebSocket, filter: EventFilter, onGone: (subscriber: Subscriber) => void) {
    this.filter = filter;
    this.#socket = socket;
    socket.on('close', () => onGone(this));
    // What is wrong is told by a close.
    socket.on('error', () => {});
    socket.on('message', () => this.close(POLICY_VIOLATION, 'nothing is read here'));
    socket.on('pong', () => {
      this.#alive = true;
    });
    socket.on('ping', (payload) => {
      if (this.#socket.bufferedAmount < MAX_QUEUED_BYTES) socket.pong(payload);
    });
  }

  /** @param forward its id, of events that are about one */
  wants(type: ChosenType, forward?: string, fine = false): boolean {
    const { types, failuresOnly } = this.filter;
    return (
      types.has(type) && !(fine && failuresOnly) && (forward === undefined || this.wantsForward(forward))
    );
  }

  wantsForward(id: string): boolean {
    return this.filter.forwards?.has(id) ?? true;
  }

  /** @param text one event; it may be the same bytes for many subscribers */
  send(text: Buffer): void {
    const queued = this.#socket.bufferedAmount;
    // What is too long for any queue is sent to one that is empty.
    if (this.#lost > 0 || (queued > 0 && queued + text.length > MAX_QUEUED_BYTES)) this.#lost++;
    else this.#socket.send(text, { binary: false }, this.#onSent);
  }

  /** Asks whether it is there; one that has not answered since it was asked last is let go. */
  ping(): void {
    if (!this.#alive) {
      this.#socket.terminate();
      return;
    }
    this.#alive = false;
    this.#socket.ping();
  }

  /** At once: one that has read everything learns why, and nobody waits for one that has not. */
  close(code: number, why: string): void {
    this.#socket.close(code, why);
    this.#socket.terminate();
  }

  #goOn(): void {
    if (this.#lost === 0 || this.#socket.bufferedAmount > GOES_ON_BELOW_BYTES) return;
    const lost: LostEvent = { type: 'lost', time: new Date().toISOString(), events: this.#lost };
    this.#lost = 0;
    this.send(encodeEvent(lost));
  }
}

/** The message of an event. */
export function encodeEvent(event: object): Buffer {
  return Buffer.from(JSON.stringify(event));
}
