import { Command } from './wire/frame.js';

/** Frames that are known: the last ones; a power of two. */
export const FRAMES_KEPT = 512;

/** Numbers of a frame: when, its command (below zero: received), its stream, its length or allowance. */
const NUMBERS = 4;
const MASK = FRAMES_KEPT * NUMBERS - 1;

/** One frame, without anything that it carries. */
export interface FrameReport {
  /** ISO 8601; frames of one turn of the event loop have one time. */
  at: string;
  direction: 'sent' | 'received';
  /** `open`, `data` …, as SPEC.md calls them. */
  type: string;
  stream: number;
  /** Payload bytes; of Data only. */
  bytes?: number;
  /** Payload bytes that its receiver has allowed since the stream was opened; of Window only. */
  allowed?: number;
}

/** Who is told of frames as they pass, while that is wanted. */
export interface FrameObserver {
  /** Asked once a turn of the event loop, of those in which there are frames. */
  readonly wantsFrames: boolean;
  onFrame(frame: FrameReport): void;
}

const NAMES = new Map<number, string>(Object.entries(Command).map(([name, command]) => [command, name]));

/**
 * The last frames of a channel, or of several one after the other: for reports of problems. It is on the path of every
 * frame, and costs a few numbers there: the clock is read once a turn, in which it is also seen whether somebody wants to
 * be told of frames.
 */
export class FrameRing {
  readonly #now: () => number;
  readonly #ring = new Float64Array(FRAMES_KEPT * NUMBERS);
  #next = 0;
  /** When the present turn of the event loop began, if it is known. */
  #at = 0;
  #atKnown = false;
  readonly #observer: FrameObserver | undefined;
  #observed = false;

  /** @param now ms since 1970 */
  constructor(now: () => number = Date.now, observer?: FrameObserver) {
    this.#now = now;
    this.#observer = observer;
  }

  /** What comes now comes at another time than what came before. */
  turn(): void {
    this.#atKnown = false;
  }

  /** @param number payload bytes of Data, the allowance of a Window */
  sent(command: number, id: number, number: number): void {
    this.#note(command, id, number);
  }

  /** @param number as sent() has it */
  received(command: number, id: number, number: number): void {
    this.#note(-command, id, number);
  }

  /** The last one last. */
  list(): FrameReport[] {
    const frames: FrameReport[] = [];
    for (let count = 0; count < FRAMES_KEPT; count++) {
      const [at = 0, signed = 0, stream = 0, number = 0] = this.#ring.subarray(
        (this.#next + count * NUMBERS) & MASK,
      );
      if (signed !== 0) frames.push(report(at, signed, stream, number));
    }
    return frames;
  }

  #note(signed: number, id: number, number: number): void {
    if (!this.#atKnown) {
      this.#atKnown = true;
      this.#at = this.#now();
      this.#observed = this.#observer?.wantsFrames === true;
    }
    const at = this.#next;
    const ring = this.#ring;
    ring[at] = this.#at;
    ring[at + 1] = signed;
    ring[at + 2] = id;
    ring[at + 3] = number;
    this.#next = (at + NUMBERS) & MASK;
    if (this.#observed) this.#observer?.onFrame(report(this.#at, signed, id, number));
  }
}

function report(at: number, signed: number, stream: number, number: number): FrameReport {
  const command = Math.abs(signed);
  return {
    at: new Date(at).toISOString(),
    direction: signed < 0 ? 'received' : 'sent',
    type: String(NAMES.get(command)),
    stream,
    ...(command === Command.data && { bytes: number }),
    ...(command === Command.window && { allowed: number }),
  };
}
