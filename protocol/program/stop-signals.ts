import type { EventEmitter } from 'node:events';
import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** A shell's exit code for a program that a signal ended is this and the signal's number. */
const ENDED_BY_SIGNAL = 128;

export interface StopSignals {
  /** Aborted by the first signal: stop in order. */
  readonly stop: AbortSignal;
  /** Aborted by the second signal, just before the process ends: the last chance to do something, at once. */
  readonly abandon: AbortSignal;
  /** Lets signals do again what they do by default. */
  release(): void;
}

/**
 * Turns the first SIGINT, SIGTERM or SIGHUP (the terminal was closed) into an orderly stop. A second one ends
 * the process at once, for whoever does not want to wait.
 */
export function stopOnSignals(
  events: EventEmitter = process,
  exit: (code: number) => void = process.exit,
): StopSignals {
  const stop = new AbortController();
  const abandon = new AbortController();
  const onSignal = (name: (typeof SIGNALS)[number]): void => {
    if (!stop.signal.aborted) {
      stop.abort();
      return;
    }
    abandon.abort();
    exit(ENDED_BY_SIGNAL + constants.signals[name]);
  };
  for (const name of SIGNALS) events.on(name, onSignal);
  return {
    stop: stop.signal,
    abandon: abandon.signal,
    release: () => {
      for (const name of SIGNALS) events.off(name, onSignal);
    },
  };
}
