import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import { errnoOf, messageOf, OperationError, UsageError } from '../../protocol/errors.js';
import type { Logger } from '../../protocol/program/logger.js';
import { listenOnUnixPath } from '../../protocol/transport/unix-path.js';
import { parseSpec, parseSpecMatcher } from '../forward-spec.js';
import type { ForwardTable } from '../forwards.js';
import { matcherFromVpnkit, ruleFromVpnkit, ruleToVpnkit } from '../vpnkit-port.js';
import { type ConnectionReport, reportForward, type StatusReport } from './reports.js';

/** The host, as far as the control API shows and changes it. */
export interface ControlTarget {
  readonly forwards: ForwardTable;
  status(): StatusReport;
  /** Open connections, and those that ended a little while ago. */
  connections(): ConnectionReport[];
  /** The whole state as text for people. */
  dump(): string;
}

export interface ControlServer {
  /** Stops answering, whoever is connected. */
  close(): Promise<void>;
}

/** A body holds one forward or a list of SPECs; node:http bounds the headers. */
const MAX_BODY_BYTES = 1024 * 1024;

const OK = 200;
const BAD_REQUEST = 400;
const NOT_FOUND = 404;
const INTERNAL_ERROR = 500;

const FOLDER_MODE = 0o700;
const SOCKET_MODE = 0o600;

/**
 * Serves the control API on a unix socket of mode 0600; its folder is made, with mode 0700, if need be.
 * @throws OperationError when the socket cannot be listened on
 */
export async function startControlServer(
  target: ControlTarget,
  path: string,
  logger: Logger,
): Promise<ControlServer> {
  const app = fastify({ bodyLimit: MAX_BODY_BYTES });
  readBodiesAsJson(app);
  reportErrors(app, logger);
  serveVpnkit(app, target);
  serveV1(app, target);
  await app.ready();
  await makeFolder(dirname(path));
  await listenOnUnixPath(app.server, path, SOCKET_MODE);
  app.server.on('error', (err) => logger.error({ err }, 'the control API cannot accept clients'));
  return {
    close: async () => {
      const closed = app.close();
      app.server.closeAllConnections();
      await closed;
    },
  };
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: FOLDER_MODE });
  } catch (thrown) {
    throw new OperationError(`cannot make the folder of the control socket: ${messageOf(thrown)}`);
  }
}

/** vpnkit's clients say application/json, `curl -d` a form, and others nothing: the body is JSON all the same. */
function readBodiesAsJson(app: FastifyInstance): void {
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

function reportErrors(app: FastifyInstance, logger: Logger): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const status = statusOf(error);
    const what = `${request.method} ${request.url}`;
    if (status >= INTERNAL_ERROR) logger.error({ err: error }, `${what} failed`);
    else logger.info(`${what} was refused: ${error.message}`);
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
function statusOf(error: FastifyError): number {
  if (error instanceof UsageError || error instanceof OperationError) return BAD_REQUEST;
  return error.statusCode ?? INTERNAL_ERROR;
}

type Protocol = 'tcp' | 'unix';

/** The API of Docker's forwarder: its clients work with it unchanged. */
function serveVpnkit(app: FastifyInstance, target: ControlTarget): void {
  const { forwards } = target;
  const expose = (proto: Protocol) => async (request: FastifyRequest, reply: FastifyReply) => {
    checkProtocol(request.body, proto);
    await forwards.expose([ruleFromVpnkit(request.body)]);
    return reply.code(OK).send();
  };
  const unexpose = (proto: Protocol) => async (request: FastifyRequest, reply: FastifyReply) => {
    checkProtocol(request.body, proto);
    await forwards.unexpose(matcherFromVpnkit(request.body));
    return reply.code(OK).send();
  };
  for (const [resource, proto] of [
    ['port', 'tcp'],
    ['pipe', 'unix'],
  ] as const) {
    app.route({ method: ['PUT', 'POST'], url: `/forwards/expose/${resource}`, handler: expose(proto) });
    app.route({
      method: ['DELETE', 'POST'],
      url: `/forwards/unexpose/${resource}`,
      handler: unexpose(proto),
    });
  }
  app.get('/forwards/list', async () => forwards.list().map(({ rule }) => ruleToVpnkit(rule)));
  app.get('/forwards/dump', async (_request, reply) =>
    reply.type('text/plain; charset=utf-8').send(target.dump()),
  );
}

/** udp belongs to the ports, too. */
function checkProtocol(body: unknown, proto: Protocol): void {
  const given = (body as { proto?: unknown } | null | undefined)?.proto;
  if (proto === 'unix' && (given === 'tcp' || given === 'udp'))
    throw new UsageError('exposed pipes can only have "proto" "unix"');
  if (proto === 'tcp' && given === 'unix')
    throw new UsageError('exposed ports can only have "proto" "tcp" or "udp"');
}

function serveV1(app: FastifyInstance, target: ControlTarget): void {
  const { forwards } = target;
  app.get('/v1/status', async () => target.status());
  app.get('/v1/connections', async () => target.connections());
  app.get('/v1/forwards', async () => forwards.list().map(reportForward));
  app.post('/v1/forwards', async (request) => {
    const rules = readSpecs(request.body).flatMap(parseSpec);
    return (await forwards.expose(rules)).map(reportForward);
  });
  app.delete('/v1/forwards', async (request) => {
    const matchers = readSpecs(request.body).map(parseSpecMatcher);
    const removed = await forwards.unexpose((rule) => matchers.some((matches) => matches(rule)));
    return removed.map(reportForward);
  });
}

function readSpecs(body: unknown): string[] {
  const specs = (body as { specs?: unknown } | null | undefined)?.specs;
  if (Array.isArray(specs) && specs.length > 0 && specs.every((spec) => typeof spec === 'string'))
    return specs;
  throw new UsageError('the body must be a JSON object such as {"specs":["8080:80"]}');
}
