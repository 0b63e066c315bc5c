import { errorCodes, type FastifyError, type FastifyInstance, type FastifyRequest } from 'fastify';
import { errnoOf, OperationError, UsageError } from '../../protocol/errors.js';
import { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { Logger } from '../../protocol/program/logger.js';
import { BodyTooLarge, readBody } from '../../protocol/services/http-body.js';
import { textForPeople } from '../../protocol/services/text.js';
import { PolicyError } from '../forwards/expose-policy.js';

const BAD_REQUEST = 400;
const FORBIDDEN = 403;
const NOT_FOUND = 404;
const INTERNAL_ERROR = 500;
const UNAVAILABLE = 503;

/** The host has no room for a request at present: its sender may ask again. */
export class Overloaded extends Error {
  override name = 'Overloaded';
  readonly statusCode = UNAVAILABLE;
}

/**
 * Reads the body of every request, whatever its Content-Type: vpnkit's clients say application/json, `curl -d`
 * a form, and others nothing. What it may cost is bounded by the route's bodyLimit.
 * @param parse makes of it what handlers find as the request's body; throws UsageError
 */
export function readBodies(
  app: FastifyInstance,
  parse: (text: Buffer, request: FastifyRequest) => unknown,
): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', async (request: FastifyRequest) => {
    const text = await readBody(request.raw, bodyLimitOf(request)).catch((thrown: unknown) => {
      throw thrown instanceof BodyTooLarge ? new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE() : new CutOff();
    });
    return parse(text, request);
  });
  app.addHook('onRequest', async (request) => {
    delete request.raw.headers['content-type'];
  });
}

/** The most bytes that the body of a request may have. */
export function bodyLimitOf({ routeOptions }: FastifyRequest): number {
  // Fastify fills it in for every route.
  return routeOptions.bodyLimit as number;
}

/** Whoever has sent a part of a request has gone: nobody gets this answer. */
class CutOff extends UsageError {
  constructor() {
    super('the request was cut off');
  }
}

/**
 * Every failure is `{"message", "code"}`, as vpnkit's clients read it, and in the log: equal ones are summed up,
 * and only a fault of ours has its stack there.
 */
export function reportErrors(
  app: FastifyInstance,
  logger: Logger,
  refusalLevel: 'info' | 'debug' = 'info',
): void {
  const log = new LogLimiter(logger);
  app.addHook('onClose', async () => log.flush());
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const status = statusOf(error);
    const what = textForPeople(`${request.method} ${request.url}`);
    const message = textForPeople(error.message);
    if (status === INTERNAL_ERROR) log.log('error', error.name, { err: error }, `${what} failed`);
    else {
      const line = `${what} was refused: ${message}`;
      log.log(refusalLevel, line, {}, line);
    }
    const code = errnoOf(error) ?? error.code;
    return reply.code(status).send(code === undefined ? { message } : { message, code });
  });
  app.setNotFoundHandler((request, reply) =>
    reply
      .code(NOT_FOUND)
      .send({ message: textForPeople(`there is no ${request.method} ${request.url} here`) }),
  );
}

/** A port that is taken is for the person who asked for it, as vpnkit has it: 400, not 500. */
function statusOf(error: FastifyError | PolicyError): number {
  if (error instanceof PolicyError) return FORBIDDEN;
  if (error instanceof UsageError || error instanceof OperationError) return BAD_REQUEST;
  return error.statusCode ?? INTERNAL_ERROR;
}
