import type { FastifyInstance } from 'fastify';
import { UsageError } from '../../protocol/errors.js';
import type { CaptureLimits } from '../capture/capture.js';
import { CAPTURE_ID_HEADER } from '../capture/capture-id.js';
import { type CaptureQuestion, type CaptureSources, Captures, MAX_CAPTURES } from '../capture/captures.js';
import { LIMITS } from '../capture/limits.js';
import { Overloaded } from './json-api.js';

const NOT_FOUND = 404;

/** The limits by what they are called in a query. */
const QUERY_LIMITS: Readonly<Record<string, keyof CaptureLimits>> = {
  'max-bytes': 'maxBytes',
  duration: 'seconds',
  count: 'packets',
  snaplen: 'snapLength',
};

/**
 * `GET /v1/capture?of=8080` answers with a pcapng file that grows until a limit is reached, its reader goes, or
 * `DELETE /v1/capture/ID` ends it in order.
 */
export function serveCaptures(app: FastifyInstance, sources: CaptureSources): void {
  const captures = new Captures(sources);
  app.get('/v1/capture', (request, reply) => {
    const question = readQuestion(request.query as Record<string, unknown>);
    if (captures.full)
      throw new Overloaded(
        `${MAX_CAPTURES} captures are under way, and the host has room for no more: end one of them`,
      );
    const capture = captures.start(question);
    // What has begun is to be seen at once, though no packet may come for long.
    reply.header(CAPTURE_ID_HEADER, capture.id).type('application/x-pcapng');
    return reply.send(capture.stream);
  });
  app.delete('/v1/capture/:id', async (request, reply) => {
    const { id } = request.params as { id: string };
    if (captures.stop(Number(id))) return {};
    return reply.code(NOT_FOUND).send({ message: `there is no capture ${id}: it has ended` });
  });
  app.addHook('preClose', () => captures.close());
}

/** @throws UsageError */
function readQuestion(query: Record<string, unknown>): CaptureQuestion {
  const question: CaptureQuestion = { frames: readTruth(query['frames']) };
  if (typeof query['of'] === 'string') question.of = query['of'];
  for (const [name, limit] of Object.entries(QUERY_LIMITS)) {
    if (query[name] === undefined) continue;
    const value = Number(query[name]);
    const { min, max } = LIMITS[limit];
    if (!(value >= min && value <= max))
      throw new UsageError(`${name} must be a number from ${min} to ${max}`);
    question[limit] = value;
  }
  return question;
}

function readTruth(given: unknown): boolean {
  if (given === undefined || given === '0') return false;
  if (given === '1') return true;
  throw new UsageError('frames must be 1 or 0');
}
