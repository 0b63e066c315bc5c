import type { EventEmitter } from 'node:events';
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import { messageOf } from '../errors.js';
import { ignoredSignals } from './ignored-signals.js';
import type { Logger } from './logger.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The exit code of a process that ends by a fault; see EXIT. */
const FAILED = 1;

/** A shell's exit code for a program that a signal ended is this and the signal's number. */
const ENDED_BY_SIGNAL = 128;

/** Set for a child that is to end with its parent, whose standard input the parent holds open; see Child. */
export const LEASH_VARIABLE = 'PORTFERRY_LEASH';

/** What ends a process: the part of `process` that is needed here. */
export type EndingProcess = EventEmitter & { exit(code: number): void; stdin: Readable };

export interface StopOptions {
  /** Says which signals are to be ignored, and whether a parent holds the leash. */
  environment: NodeJS.ProcessEnv;
  /** Gets a fault of ours that ends the process, with its stack. Without it Node.js prints that. */
  logger?: Logger;
  /** Default: this process. */
  process?: EndingProcess;
}

export interface StopSignals {
  /** Aborted by the first signal: stop in order. */
  readonly stop: AbortSignal;
  /** Aborted just before the process ends at once: the last chance to do something, without waiting. */
  readonly abandon: AbortSignal;
  /** Lets signals do again what they do by default. */
  release(): void;
}

/**
 * Turns the first SIGINT, SIGTERM or SIGHUP (the terminal was closed) into an orderly stop. A second one ends
 * the process at once, for whoever does not want to wait; so does a fault of ours, and the end of a parent
 * that holds the leash.
 */
export function stopOnSignals({ environment, logger, process: self = process }: StopOptions): StopSignals {
  const stop = new AbortController();
  const abandon = new AbortController();
  const end = (code: number): void => {
    abandon.abort();
    self.exit(code);
  };
  const onSignal = (name: (typeof SIGNALS)[number]): void => {
    if (stop.signal.aborted) end(ENDED_BY_SIGNAL + constants.signals[name]);
    else {
      logger?.info(`told to stop, by ${name}`);
      stop.abort();
    }
  };
  const onFault = (err: unknown): void => {
    logger?.fatal({ err }, `a fault of portferry's own ends it; please report this line: ${messageOf(err)}`);
    end(FAILED);
  };
  const onParentGone = (): void => end(FAILED);
  const ignored = ignoredSignals(environment);
  const signals = SIGNALS.filter((name) => !ignored.has(name));
  const leash = environment[LEASH_VARIABLE] === undefined ? undefined : self.stdin;
  for (const name of signals) self.on(name, onSignal);
  // Rejections that nobody handles come here, too.
  if (logger) self.on('uncaughtException', onFault);
  leash?.on('close', onParentGone).on('error', onParentGone).resume();
  return {
    stop: stop.signal,
    abandon: abandon.signal,
    release: () => {
      for (const name of signals) self.off(name, onSignal);
      self.off('uncaughtException', onFault);
      leash?.off('close', onParentGone).off('error', onParentGone).pause();
    },
  };
}
