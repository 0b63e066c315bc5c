import type { Tap, Tapped } from '../../protocol/tap.js';

/** All who look at one connection, whatever carries it. */
export class Taps {
  readonly #taps = new Set<Tap>();
  #tapped: Tapped | undefined;

  /** From now on it is this that carries the connection, or nothing any more. */
  carriedBy(tapped: Tapped | undefined): void {
    this.#tapped = tapped;
    this.#attach();
  }

  add(tap: Tap): void {
    this.#taps.add(tap);
    this.#attach();
  }

  delete(tap: Tap): void {
    this.#taps.delete(tap);
    this.#attach();
  }

  #attach(): void {
    if (!this.#tapped) return;
    const [first, ...others] = this.#taps;
    this.#tapped.tap = first && others.length > 0 ? forAll([first, ...others]) : first;
  }
}

function forAll(taps: readonly Tap[]): Tap {
  return {
    fromClient: (bytes) => {
      for (const tap of taps) tap.fromClient(bytes);
    },
    fromServer: (bytes) => {
      for (const tap of taps) tap.fromServer(bytes);
    },
    clientEnded: () => {
      for (const tap of taps) tap.clientEnded();
    },
    serverEnded: () => {
      for (const tap of taps) tap.serverEnded();
    },
  };
}
