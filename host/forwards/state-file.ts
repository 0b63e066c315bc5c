import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errnoOf, messageOf, OperationError, reasonOf } from '../../protocol/errors.js';
import type { Logger } from '../../protocol/program/logger.js';
import { readOwnFile } from '../../protocol/program/own-file.js';
import type { ForwardRule } from '../rule/forward-rule.js';
import { formatSaved, parseSaved } from './saved-forwards.js';

/** How often (ms) it is tried again to save what could not be saved. */
const RETRY_SAVE_MS = 5_000;

/** Damaged files that are kept aside. Whoever has so many wants to know why before there are more. */
const MAX_ASIDE = 100;

/** Bytes of the part of a temporary file's name that is random; two hexadecimal digits each. */
const RANDOM_BYTES = 6;

/** A file that could not be understood in whole at the start. */
export interface SetAside {
  /** Where it is kept, as it was. */
  path: string;
  /** What could not be understood, in words. */
  reason: string;
}

/** Says what is to be saved, when that has its turn. */
type Rules = () => readonly ForwardRule[];

/** Keeps the forwards exposed at run time over a restart, as JSON in a file that only its owner can read. */
export class StateFile {
  readonly path: string;
  readonly #logger: Logger;
  readonly #retryMs: number;
  /** The save that has not begun. */
  #waiting: Promise<void> | undefined;
  #lastSave: Promise<void> = Promise.resolve();
  /** The last save that has failed. */
  #failure: { problem: string; rules: Rules } | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #closed = false;
  #aside: SetAside | undefined;

  /** @param retryMs how often it is tried again to save what could not be saved */
  constructor(path: string, logger: Logger, retryMs = RETRY_SAVE_MS) {
    this.path = path;
    this.#logger = logger;
    this.#retryMs = retryMs;
  }

  /** Why what is exposed now would not be there after a restart; undefined when it is saved. */
  get problem(): string | undefined {
    return this.#failure?.problem;
  }

  /** What load() has found and could not understand in whole. */
  get aside(): SetAside | undefined {
    return this.#aside;
  }

  /**
   * Reads what was saved last, nothing when there is no file, and sees to it that it can be saved again. Of a
   * file with entries that cannot be understood the others are read, and a copy is kept aside; a file that is
   * none of ours at all, or that a newer version has written, is kept aside, too, and counts as none.
   * @throws OperationError when the file cannot be read, kept aside or written
   */
  async load(): Promise<ForwardRule[]> {
    const text = await this.#attempt('read', async () => readOwnFile(this.path)?.text);
    const rules = text === undefined ? [] : await this.#understand(text);
    await this.#attempt('write', async () => {
      await removeLeftovers(this.path);
      await replaceFile(this.path, formatSaved(rules));
    });
    return rules;
  }

  /**
   * Saves what `rules` says when its turn comes, whole or not at all; those who ask before that share it. When
   * it fails, `problem` says why, and it is tried again until it has been saved.
   * @returns when it has been saved, or has failed
   */
  save(rules: Rules): Promise<void> {
    this.#waiting ??= this.#lastSave.then(() => this.#save(rules));
    this.#lastSave = this.#waiting;
    return this.#waiting;
  }

  /** Tries for the last time to save what could not be saved. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    await this.#lastSave;
    if (this.#failure) await this.#save(this.#failure.rules);
  }

  async #save(rules: Rules): Promise<void> {
    this.#waiting = undefined;
    clearTimeout(this.#retryTimer);
    try {
      await this.#attempt('write', () => replaceFile(this.path, formatSaved(rules())));
      if (this.#failure) this.#logger.info(`the state file ${this.path} is saved again`);
      this.#failure = undefined;
    } catch (thrown) {
      const problem = messageOf(thrown);
      if (problem !== this.problem)
        this.#logger.error(
          `${problem}: what is exposed now will not outlast a restart (it is tried again every ${this.#retryMs / 1000} s)`,
        );
      this.#failure = { problem, rules };
      if (!this.#closed) this.#retryTimer = setTimeout(() => void this.save(rules), this.#retryMs);
    }
  }

  async #understand(text: string): Promise<ForwardRule[]> {
    const { rules, problems, newer } = parseSaved(text);
    const [reason] = problems;
    if (reason === undefined) return rules;
    const name = newer === undefined ? `${this.path}.corrupt` : `${this.path}.version-${newer}`;
    const path = await this.#attempt('put aside', () => keepAside(this.path, name));
    this.#aside = { path, reason };
    this.#logger.warn(
      { problems },
      `the state file ${this.path} cannot be understood in whole (${reason}): it is kept as ${path}; ${rules.length} of its forwards are restored, others must be exposed again`,
    );
    return rules;
  }

  async #attempt<T>(what: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (thrown) {
      throw new OperationError(`cannot ${what} the state file ${this.path}: ${reasonOf(thrown)}`);
    }
  }
}

/** @returns the name of the copy: `name`, or where that is there already, the next one */
async function keepAside(path: string, name: string): Promise<string> {
  for (let number = 1; number <= MAX_ASIDE; number++) {
    const aside = number === 1 ? name : `${name}.${number}`;
    try {
      await copyFile(path, aside, constants.COPYFILE_EXCL);
      return aside;
    } catch (thrown) {
      if (errnoOf(thrown) !== 'EEXIST') throw thrown;
    }
  }
  throw new OperationError(`there are ${MAX_ASIDE} such files already: remove ${name}*`);
}

/** What a process that was killed while it saved has left behind. */
async function removeLeftovers(path: string): Promise<void> {
  const folder = dirname(path);
  const start = `${basename(path)}.`;
  const isLeftover = (name: string): boolean =>
    name.startsWith(start) && /^[0-9a-f]{12}\.tmp$/.test(name.slice(start.length));
  for (const name of (await readdir(folder)).filter(isLeftover)) await rm(join(folder, name));
}

async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(RANDOM_BYTES).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(text);
      // Without it, a power failure could leave an empty file under the final name.
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (thrown) {
    await rm(temporary, { force: true });
    throw thrown;
  }
}
