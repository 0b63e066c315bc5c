import { messageOf } from '../../../protocol/errors.js';
import type { RemoteGuest } from '../session.js';
import { Engine, type EngineOptions } from './engine.js';
import { planPath } from './engine-plan.js';

/** With an engine far away, its container may take a while (ms) to start. */
const CONNECT_DEADLINE_MS = 60_000;

export interface EngineGuestOptions extends EngineOptions {
  /** The program that enters the engine's machine, to be called with the path of the plan. */
  enter: readonly [file: string, ...args: string[]];
  /** Told when the engine shares this machine's network; what it throws ends the attempt. */
  onSameMachine(): void;
}

/** A guest in a container of an engine. */
export class EngineGuest implements RemoteGuest {
  readonly connectDeadlineMs = CONNECT_DEADLINE_MS;
  readonly #options: EngineGuestOptions;
  readonly #engine: Engine;
  #begun = false;

  constructor(options: EngineGuestOptions) {
    this.#options = options;
    this.#engine = new Engine(options);
  }

  async prepare(folder: string): Promise<string> {
    const { enter, onSameMachine } = this.#options;
    await this.#engine.check();
    if (this.#engine.isHere) onSameMachine();
    this.#begun = true;
    await this.#engine.prepare(folder);
    return `exec:${[...enter, planPath(folder)].map(quoteWord).join(' ')}`;
  }

  async remove(folder: string): Promise<void> {
    if (!this.#begun) return;
    try {
      await this.#engine.remove(folder);
    } catch (thrown) {
      this.#options.say(`${messageOf(thrown)}; the next portferry up --engine removes it`);
    }
  }
}

/** As a shell would have it quoted, and exec: too. */
export function quoteWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
