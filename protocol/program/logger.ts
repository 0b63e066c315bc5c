import { type DestinationStream, type Logger, pino } from 'pino';
import type { PrettyOptions } from 'pino-pretty';

/** How much is logged, from nothing but fatal errors to everything; `silent` logs nothing at all. */
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

export type { Logger } from 'pino';

export function isLogLevel(value: unknown): value is LogLevel {
  return (LOG_LEVELS as readonly unknown[]).includes(value);
}

/**
 * Logs more or less from now on, and says so, where one of the two levels has such a line.
 * @param how it was asked for, for people
 */
export function changeLevel(logger: Logger, level: LogLevel, how: string): void {
  const before = logger.level as LogLevel;
  if (level === before) return;
  if (verbosity(level) > verbosity(before)) logger.level = level;
  logger.info(`the log level is ${level} now, and was ${before}: asked for ${how}`);
  logger.level = level;
}

function verbosity(level: LogLevel): number {
  return level === 'silent' ? -1 : LOG_LEVELS.indexOf(level);
}

const STDERR = 2;

/** Log lines (bytes) that are kept while they cannot be written, as on a full disk; what is more is dropped. */
export const MAX_UNWRITTEN_BYTES = 1024 * 1024;

/** What a line for people does not repeat: its sentence has it, or it is for programs that look for lines. */
const IN_THE_SENTENCE = [
  ...[
    'pid',
    'hostname',
    'code',
    'errno',
    'publisher',
    'sockets',
    'features',
    'reason',
    'address',
    'ip',
    'more',
    'frame',
  ],
  ...['connections', 'dropped', 'version', 'node'],
];

/** What stands before the sentence, in brackets. */
const BEFORE_THE_SENTENCE = ['forward', 'destination', 'streamId', 'client', 'termination'];

/** One line each, but for an error with its stack. */
export const PRETTY: PrettyOptions = {
  ignore: [...IN_THE_SENTENCE, ...BEFORE_THE_SENTENCE].join(','),
  translateTime: 'HH:MM:ss.l',
  messageFormat: (log, key) => `${contextIn(log)}${log[key]}`,
};

/** `[tcp localhost:8080 → tcp 127.0.0.1:80, stream 3] ` */
function contextIn(log: Record<string, unknown>): string {
  const { forward, destination, streamId, client, termination } = log;
  const way = [forward, destination].filter((end) => end !== undefined).join(' → ');
  const parts = [
    ...(way === '' ? [] : [way]),
    ...(client === undefined ? [] : [`client ${client}`]),
    ...(streamId === undefined ? [] : [`stream ${streamId}`]),
    ...(termination === undefined ? [] : [`${termination}`]),
  ];
  return parts.length === 0 ? '' : `[${parts.join(', ')}] `;
}

/**
 * Where log lines go when nothing else is asked for: standard error, as JSON lines, or in a form for people
 * when it is a terminal. Both write at once, so that the last lines before an exit are not lost.
 */
export async function logDestination(terminal: boolean): Promise<DestinationStream> {
  const destination = jsonLines();
  if (!terminal) return destination;
  const { default: pretty } = await import('pino-pretty');
  return pretty({ destination, ...PRETTY });
}

/** Log lines as they are, to a file descriptor that is open. */
export function jsonLines(fd = STDERR): ReturnType<typeof pino.destination> {
  const destination = pino.destination({ fd, sync: true, maxLength: MAX_UNWRITTEN_BYTES });
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
