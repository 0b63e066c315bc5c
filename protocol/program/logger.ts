import { type DestinationStream, type Logger, pino } from 'pino';

/** How much is logged, from nothing but fatal errors to everything; `silent` logs nothing at all. */
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

export type { Logger } from 'pino';

const STDERR = 2;

/** Log lines (bytes) that are kept while they cannot be written, as on a full disk; what is more is dropped. */
const MAX_UNWRITTEN_BYTES = 1024 * 1024;

/**
 * Where log lines go when nothing else is asked for: standard error, as JSON lines, or in a form for people
 * when it is a terminal. Both write at once, so that the last lines before an exit are not lost.
 */
export async function logDestination(terminal: boolean): Promise<DestinationStream> {
  const destination = jsonLines();
  if (!terminal) return destination;
  const { default: pretty } = await import('pino-pretty');
  return pretty({ destination, ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l' });
}

function jsonLines(): ReturnType<typeof pino.destination> {
  const destination = pino.destination({ fd: STDERR, sync: true, maxLength: MAX_UNWRITTEN_BYTES });
  // A log that cannot be written, for the disk is full or the terminal gone, ends nothing: it is tried again.
  destination.on('error', () => {});
  return destination;
}

/**
 * A logger whose `err` fields are written as type, message, code and stack.
 * @param destination by default standard error, as JSON lines
 */
export function createLogger(level: LogLevel, destination: DestinationStream = jsonLines()): Logger {
  return pino({ level, serializers: { err: pino.stdSerializers.err } }, destination);
}
