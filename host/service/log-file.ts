import {
  closeSync,
  constants,
  existsSync,
  ftruncateSync,
  mkdirSync,
  renameSync,
  rmSync,
  type Stats,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { messageOf, OperationError } from '../../protocol/errors.js';
import { openOwnFile } from '../../protocol/program/own-file.js';

/** A log is put aside when it has grown to this size. */
const MAX_BYTES = 10 * 1024 * 1024;

/** Logs that are kept beside the one in use: FILE.1 is the newest. */
const KEPT_FILES = 4;

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;

/** The sizes of a LogFile; for tests. */
export interface LogFileSizes {
  maxBytes: number;
  keptFiles: number;
}

/**
 * A log file that puts itself aside when it is full. Lines are written at once, so that the last ones before a
 * crash are there. A disk that is full loses lines, and how many is told when it takes some again; it never
 * stops the program.
 */
export class LogFile {
  readonly path: string;
  readonly #sizes: LogFileSizes;
  #fd: number;
  #bytes: number;
  #lost = 0;

  /** @throws OperationError when the file cannot be opened; its folder is made if need be */
  constructor(path: string, sizes: Partial<LogFileSizes> = {}) {
    this.path = path;
    this.#sizes = { maxBytes: MAX_BYTES, keptFiles: KEPT_FILES, ...sizes };
    try {
      mkdirSync(dirname(path), { recursive: true, mode: FOLDER_MODE });
      const { fd, stats } = openLog(path);
      this.#fd = fd;
      this.#bytes = stats.size;
    } catch (thrown) {
      throw new OperationError(`cannot write the log ${path}: ${messageOf(thrown)}`);
    }
  }

  /** Writes a whole line, its end included. */
  write(line: string): void {
    try {
      if (this.#bytes >= this.#sizes.maxBytes) this.#rotate();
      if (this.#lost > 0) {
        this.#append(`${JSON.stringify({ level: 40, time: Date.now(), msg: this.#lostLines() })}\n`);
        this.#lost = 0;
      }
      this.#append(line);
    } catch {
      this.#lost++;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #append(text: string): void {
    this.#bytes += writeSync(this.#fd, text);
  }

  #lostLines(): string {
    return `${this.#lost} lines of the log were lost: the disk would not take them`;
  }

  /** What cannot be put aside is emptied: a log must not grow without end, nor end because of that. */
  #rotate(): void {
    try {
      this.#putAside();
    } catch {
      ftruncateSync(this.#fd, 0);
    }
    this.#bytes = 0;
  }

  /** A number is added to each name, and the oldest goes. */
  #putAside(): void {
    const { keptFiles } = this.#sizes;
    rmSync(`${this.path}.${keptFiles}`, { force: true });
    for (let number = keptFiles - 1; number >= 0; number--) {
      const from = number === 0 ? this.path : `${this.path}.${number}`;
      if (existsSync(from)) renameSync(from, `${this.path}.${number + 1}`);
    }
    const { fd } = openLog(this.path);
    closeSync(this.#fd);
    this.#fd = fd;
  }
}

/** Opens the log to append to it. */
function openLog(path: string): { fd: number; stats: Stats } {
  return openOwnFile(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, FILE_MODE);
}
