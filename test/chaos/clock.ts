import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where packages put the library: Debian's own folder of the machine's kind, or elsewhere. */
const LIBRARIES = [
  '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1',
  '/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1',
  '/usr/lib64/faketime/libfaketime.so.1',
  '/usr/lib/faketime/libfaketime.so.1',
];

/** The wall clock of programs, moved by libfaketime; what counts time since the start goes on as ever. */
export class WallClock {
  readonly #file: string;
  /** How far (s) it is ahead of the machine's. */
  offsetSeconds = 0;
  readonly #library = LIBRARIES.find((path) => existsSync(path));

  constructor(folder: string) {
    this.#file = join(folder, 'clock');
    this.move(0);
  }

  /** Whether it can be moved on this machine. */
  get movable(): boolean {
    return this.#library !== undefined;
  }

  /** What a program runs with. */
  get env(): NodeJS.ProcessEnv {
    if (this.#library === undefined) return {};
    return {
      LD_PRELOAD: this.#library,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      // Seconds after which the file is read again.
      FAKETIME_CACHE_DURATION: '1',
    };
  }

  /** @param seconds how far the clock is ahead of the machine's */
  move(seconds: number): void {
    this.offsetSeconds = seconds;
    writeFileSync(`${this.#file}.new`, `${seconds < 0 ? '' : '+'}${seconds}\n`);
    renameSync(`${this.#file}.new`, this.#file);
  }
}
