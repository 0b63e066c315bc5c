import type { FastifyInstance } from 'fastify';
import { UsageError } from '../../protocol/errors.js';
import { changeLevel, isLogLevel, LOG_LEVELS, type Logger } from '../../protocol/program/logger.js';

/** How much a host logs, as the control API shows and takes it. */
export const LOG_LEVEL_RESOURCE = '/v1/log-level';

/** `GET` and `PUT /v1/log-level`, both answered with what holds then: `{"level":"info"}`. */
export function serveLogLevel(app: FastifyInstance, logger: Logger): void {
  app.get(LOG_LEVEL_RESOURCE, async () => ({ level: logger.level }));
  app.put(LOG_LEVEL_RESOURCE, async (request) => {
    const { level } = (request.body ?? {}) as { level?: unknown };
    if (!isLogLevel(level))
      throw new UsageError(`the level must be one of ${LOG_LEVELS.join(', ')}: {"level":"debug"}, say`);
    changeLevel(logger, level, 'over the control socket');
    return { level };
  });
}
