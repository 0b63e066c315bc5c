import type { Test } from 'tap';

/** Stands for a test where there is none: what the tests' fixtures start ends with it. */
export class Scope {
  readonly #teardowns: (() => unknown)[] = [];

  /** As the fixtures ask for it; of a test they use no more than this class has. */
  get test(): Test {
    return this as unknown as Test;
  }

  teardown(action: () => unknown): void {
    this.#teardowns.push(action);
  }

  /** A fixture shows nothing by itself. */
  passing(): boolean {
    return true;
  }

  fail(reason: string): never {
    throw new Error(reason);
  }

  /** A fixture says so why it cannot run here. */
  plan(_count: number, reason: string): never {
    throw new Error(reason);
  }

  /** Ends everything, the last one first. */
  async end(): Promise<void> {
    for (let action = this.#teardowns.pop(); action; action = this.#teardowns.pop()) await action();
  }
}
