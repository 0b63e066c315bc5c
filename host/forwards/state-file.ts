import { randomBytes } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { errnoOf, messageOf, OperationError } from '../../protocol/errors.js';
import type { Logger } from '../../protocol/program/logger.js';
import type { VpnkitPort } from '../../protocol/services/control.js';
import { type ForwardRule, formatRule, isSameRule, LOCALHOST } from '../rule/forward-rule.js';
import { ruleFromVpnkit, ruleToVpnkit } from '../rule/vpnkit-rule.js';

/** A forward in the file: vpnkit's form, and its host addresses, of which that form has only one. */
interface StoredForward extends VpnkitPort {
  host_ips?: string[];
}

interface StoredState {
  version: 1;
  forwards: StoredForward[];
}

/** Keeps the forwards exposed at run time over a restart, as JSON in a file that only its owner can read. */
export class StateFile {
  readonly path: string;
  readonly #logger: Logger;
  #lastSave: Promise<void> = Promise.resolve();
  /** Forwards of the file that could not be exposed again yet. */
  #absent: ForwardRule[] = [];

  constructor(path: string, logger: Logger) {
    this.path = path;
    this.#logger = logger;
  }

  /**
   * What was saved last; nothing when there is no file. One that cannot be understood is kept aside as
   * FILE.corrupt, with a warning, and counts as none.
   * @throws OperationError when the file cannot be read or put aside
   */
  async load(): Promise<ForwardRule[]> {
    const text = await this.#read();
    if (text === undefined) return [];
    try {
      return parseState(text);
    } catch (thrown) {
      const aside = `${this.path}.corrupt`;
      await this.#attempt('put aside', () => rename(this.path, aside));
      this.#logger.warn(
        `the state file ${this.path} cannot be understood (${messageOf(thrown)}): it is kept as ${aside}, and its forwards must be exposed again`,
      );
      return [];
    }
  }

  /**
   * Exposes again what was saved last, each forward by itself. One that cannot be had now, because something
   * else has taken its port, is logged and stays in the file for the next start.
   * @throws OperationError when the file cannot be read or put aside
   */
  async restore(expose: (rule: ForwardRule) => Promise<unknown>): Promise<void> {
    // Each expose leads to a save: what has not had its turn must not be lost with it.
    this.#absent = await this.load();
    for (const rule of [...this.#absent]) {
      try {
        await expose(rule);
        this.#absent = this.#absent.filter((other) => other !== rule);
      } catch (err) {
        this.#logger.error(
          { err, forward: formatRule(rule) },
          'a forward of the state file cannot be exposed',
        );
      }
    }
  }

  /**
   * Replaces what is saved, whole or not at all. Saves follow one another in the order of the calls.
   * @throws OperationError
   */
  save(rules: readonly ForwardRule[]): Promise<void> {
    const absent = this.#absent.filter((rule) => !rules.some((other) => isSameRule(rule, other)));
    const state: StoredState = { version: 1, forwards: [...rules, ...absent].map(toStored) };
    const text = `${JSON.stringify(state, undefined, 2)}\n`;
    const saved = this.#lastSave.then(() => this.#attempt('write', () => replaceFile(this.path, text)));
    this.#lastSave = saved.catch(() => undefined);
    return saved;
  }

  #read(): Promise<string | undefined> {
    return this.#attempt('read', async () => {
      try {
        return await readFile(this.path, 'utf8');
      } catch (thrown) {
        if (errnoOf(thrown) === 'ENOENT') return undefined;
        throw thrown;
      }
    });
  }

  async #attempt<T>(what: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (thrown) {
      throw new OperationError(`cannot ${what} the state file ${this.path}: ${messageOf(thrown)}`);
    }
  }
}

async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
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

function toStored(rule: ForwardRule): StoredForward {
  const port = ruleToVpnkit(rule);
  return rule.proto === 'unix' ? port : { ...port, host_ips: rule.hostIps };
}

function parseState(text: string): ForwardRule[] {
  const state = JSON.parse(text) as Partial<StoredState> | null;
  if (state?.version !== 1 || !Array.isArray(state.forwards))
    throw new OperationError('it is no list of forwards of version 1');
  return state.forwards.map(fromStored);
}

function fromStored(stored: StoredForward): ForwardRule {
  const rule = ruleFromVpnkit(stored);
  const localhost = stored.host_ips?.join() === LOCALHOST.join();
  return rule.proto !== 'unix' && localhost ? { ...rule, hostIps: [...LOCALHOST] } : rule;
}
