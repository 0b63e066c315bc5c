import type { Multiplexer } from '../multiplexer.js';
import type { Logger } from '../program/logger.js';
import type { Stream } from '../stream.js';
import type { Reason } from '../wire/extension.js';

/**
 * How long (ms) nothing may have moved on a stream for it to be idle: longer than a server takes between two
 * pieces of an answer, and no time for whoever has pressed Ctrl-C.
 */
const QUIET_MS = 500;

export interface WindDownOptions {
  reason: Reason;
  /** How long (ms) streams in flight may take. */
  graceMs: number;
  logger: Logger;
  /** Resolves when there are no streams any more. */
  empty: Promise<void>;
}

/**
 * Lets the streams of a channel that stops finish. Those in which nothing is under way, such as a connection
 * that a browser keeps open for its next request, are reset as soon as that is clear: see Stream.idle. Whoever
 * waits for the others is told so.
 */
export async function windDown(multiplexer: Multiplexer, options: WindDownOptions): Promise<void> {
  const { reason, graceMs, logger, empty } = options;
  let carried = bytesCarried(multiplexer);
  let told = false;
  const look = setInterval(() => {
    const before = carried;
    carried = bytesCarried(multiplexer);
    for (const [stream, bytes] of carried)
      if (stream.idle && before.get(stream) === bytes) stream.cut(reason);
    const left = countOpen(multiplexer);
    if (told || left === 0) return;
    told = true;
    logger.warn(
      { connections: left },
      `waiting until connections have finished (${left} in use), for at most ${graceMs / 1000} s; a second signal, such as Ctrl-C, ends them at once`,
    );
  }, QUIET_MS);
  let deadline: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    deadline = setTimeout(resolve, graceMs);
  });
  await Promise.race([empty, late]);
  clearTimeout(deadline);
  clearInterval(look);
  const left = countOpen(multiplexer);
  if (left > 0)
    logger.warn(
      { connections: left },
      `connections are reset that have not finished within ${graceMs / 1000} s: ${left}`,
    );
}

function bytesCarried({ streams }: Multiplexer): Map<Stream, number> {
  return new Map([...streams.values()].map((stream) => [stream, stream.bytesSent + stream.bytesReceived]));
}

function countOpen({ streams }: Multiplexer): number {
  let open = 0;
  for (const stream of streams.values()) if (!stream.over) open++;
  return open;
}
