import { LogTail } from '../../protocol/program/log-tail.js';
import { createLogger, type LogLevel } from '../../protocol/program/logger.js';
import { VERSION } from '../../protocol/program/version.js';
import type { HostContext, HostOptions } from '../options.js';
import type { LogFile } from './log-file.js';

type RunHost = (options: HostOptions, context: HostContext) => Promise<void>;

/**
 * A host that runs as a service: it logs to a file, and its manager hears when it listens and when it stops.
 * @param tell says a change of state to the manager, in the words of sd_notify(3)
 */
export function asService(runHost: RunHost, logFile: LogFile, tell: (state: string) => void): RunHost {
  return async (options, context) => {
    const logTail = new LogTail(logFile);
    const logger = createLogger(context.logger.level as LogLevel, logTail);
    logger.info({ version: VERSION, node: process.version }, 'the service starts');
    context.stop.addEventListener('abort', () => tell('STOPPING=1'), { once: true });
    await runHost(options, {
      ...context,
      logger,
      logTail,
      onReady: (report) => {
        tell('READY=1');
        context.onReady?.(report);
      },
    });
    logger.info('the service has ended in order');
  };
}
