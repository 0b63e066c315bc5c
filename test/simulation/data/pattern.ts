import { randomFrom } from '../../protocol/fixtures/memory-link.js';
import { Violation } from '../world/world.js';

/** After so many bytes they come again: a prime, so that no buffer's size hides a shift. */
const PERIOD = 65_521;

/** The most that is written or compared at once. */
const MOST_BYTES = 1024 * 1024;

const PATTERN = makePattern();

/** The bytes that one end of a connection sends: each is known by its number. */
export class Pattern {
  readonly #start: number;

  /** @param key tells it from others */
  constructor(key: number) {
    this.#start = (key * 7919) % PERIOD;
  }

  /** Writes the bytes from number `from` on into the whole of `into`. */
  write(into: Buffer, from: number): void {
    const at = (this.#start + from) % PERIOD;
    PATTERN.copy(into, 0, at, at + into.length);
  }

  /** @throws Violation when `bytes` are not those from number `from` on */
  check(bytes: Buffer, from: number, where: string): void {
    const at = (this.#start + from) % PERIOD;
    if (PATTERN.compare(bytes, 0, bytes.length, at, at + bytes.length) === 0) return;
    throw new Violation(`${where}: wrong bytes among those from ${from} to ${from + bytes.length}`);
  }
}

function makePattern(): Buffer {
  const random = randomFrom(1);
  const pattern = Buffer.alloc(PERIOD + MOST_BYTES);
  for (let at = 0; at < PERIOD; at++) pattern[at] = Math.floor(random() * 256);
  for (let at = PERIOD; at < pattern.length; at += PERIOD) pattern.copy(pattern, at, 0, PERIOD);
  return pattern;
}
