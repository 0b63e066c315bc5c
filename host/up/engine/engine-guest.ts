import { join } from 'shlex';
import { messageOf } from '../../../protocol/errors.js';
import type { RemoteGuest } from '../session.js';
import { Engine, type EngineOptions } from './engine.js';
import { planPath, readFailure } from './engine-plan.js';

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
  /** Set when there may be something to remove. */
  #folder: string | undefined;

  constructor(options: EngineGuestOptions) {
    this.#options = options;
    this.#engine = new Engine(options);
  }

  async prepare(folder: string): Promise<string> {
    const { enter, onSameMachine } = this.#options;
    await this.#engine.check();
    if (this.#engine.isHere) onSameMachine();
    this.#folder = folder;
    await this.#engine.prepare(folder);
    return `exec:${join([...enter, planPath(folder)])}`;
  }

  explain(reason: string): string {
    return (this.#folder !== undefined && readFailure(this.#folder)) || reason;
  }

  async remove(): Promise<void> {
    if (this.#folder === undefined) return;
    try {
      await this.#engine.remove(this.#folder);
    } catch (thrown) {
      this.#options.say(`${messageOf(thrown)}; the next portferry up --engine removes it`);
    }
  }
}
