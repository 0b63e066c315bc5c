import type { FastifyError, FastifyInstance } from 'fastify';
import { errnoOf, messageOf, OperationError, UsageError } from '../../protocol/errors.js';
import type { Logger } from '../../protocol/program/logger.js';
import { PolicyError } from '../forwards/expose-policy.js';

export const OK = 200;
export const BAD_REQUEST = 400;
const FORBIDDEN = 403;
const NOT_FOUND = 404;
const INTERNAL_ERROR = 500;

/** vpnkit's clients say application/json, `curl -d` a form, and others nothing: the body is JSON all the same. */
export function readBodiesAsJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, JSON.parse(String(body)));
    } catch (thrown) {
      done(new UsageError(`the body is not valid JSON: ${messageOf(thrown)}`));
    }
  });
  app.addHook('onRequest', async (request) => {
    delete request.raw.headers['content-type'];
  });
}

/** Every failure is `{"message", "code"}`, as vpnkit's clients read it, and in the log. */
export function reportErrors(
  app: FastifyInstance,
  logger: Logger,
  refusalLevel: 'info' | 'debug' = 'info',
): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const status = statusOf(error);
    const what = `${request.method} ${request.url}`;
    if (status >= INTERNAL_ERROR) logger.error({ err: error }, `${what} failed`);
    else logger[refusalLevel](`${what} was refused: ${error.message}`);
    const code = errnoOf(error) ?? error.code;
    return reply
      .code(status)
      .send(code === undefined ? { message: error.message } : { message: error.message, code });
  });
  app.setNotFoundHandler((request, reply) =>
    reply.code(NOT_FOUND).send({ message: `there is no ${request.method} ${request.url} here` }),
  );
}

/** A port that is taken is for the person who asked for it, as vpnkit has it: 400, not 500. */
function statusOf(error: FastifyError | PolicyError): number {
  if (error instanceof PolicyError) return FORBIDDEN;
  if (error instanceof UsageError || error instanceof OperationError) return BAD_REQUEST;
  return error.statusCode ?? INTERNAL_ERROR;
}
