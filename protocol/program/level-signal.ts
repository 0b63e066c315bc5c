import type { EventEmitter } from 'node:events';
import { changeLevel, type Logger, type LogLevel } from './logger.js';

/** SIGUSR1 is Node's own: it opens the inspector. */
const SIGNAL = 'SIGUSR2';

const DETAILED: LogLevel = 'debug';

/**
 * Has a signal change how much a program logs: to debug, and the next one back to what it was.
 * @param self where the signal is heard
 * @returns lets the signal do again what it does by default, which is to end the process
 */
export function changeLevelOnSignal(logger: Logger, self: EventEmitter = process): () => void {
  let before = logger.level as LogLevel;
  const onSignal = (): void => {
    const now = logger.level as LogLevel;
    if (now === DETAILED) changeLevel(logger, before, `by ${SIGNAL}`);
    else {
      before = now;
      changeLevel(logger, DETAILED, `by ${SIGNAL}`);
    }
  };
  self.on(SIGNAL, onSignal);
  return () => void self.off(SIGNAL, onSignal);
}
