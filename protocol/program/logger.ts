import { type DestinationStream, type Logger, pino } from 'pino';
import pretty from 'pino-pretty';

/** How much is logged, from nothing but fatal errors to everything; `silent` logs nothing at all. */
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

export type { Logger } from 'pino';

const STDERR = 2;

/**
 * Where log lines go when nothing else is asked for: standard error, as JSON lines, or in a form for people
 * when it is a terminal. Both write at once, so that the last lines before an exit are not lost.
 */
export function logDestination(terminal: boolean): DestinationStream {
  if (!terminal) return pino.destination({ fd: STDERR, sync: true });
  return pretty({ destination: STDERR, sync: true, ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l' });
}

/** A logger whose `err` fields are written as type, message, code and stack. */
export function createLogger(
  level: LogLevel,
  destination: DestinationStream = logDestination(process.stderr.isTTY === true),
): Logger {
  return pino({ level, serializers: { err: pino.stdSerializers.err } }, destination);
}
