import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import fastify, { type FastifyInstance } from 'fastify';
import { parseJson } from '../../protocol/bounded-json.js';
import { messageOf, OperationError, UsageError } from '../../protocol/errors.js';
import type { Logger } from '../../protocol/program/logger.js';
import { listenOnUnixPath } from '../../protocol/transport/unix-path.js';
import type { ForwardTable } from '../forwards/forward-table.js';
import type { Leases } from '../forwards/leases.js';
import { type DumpReport, formatDump } from '../records/dump.js';
import { type ConnectionReport, reportForward, type StatusReport } from '../records/reports.js';
import { parseSpec, parseSpecMatcher } from '../rule/forward-spec.js';
import { matcherFromVpnkit, ruleFromVpnkit, ruleToVpnkit } from '../rule/vpnkit-rule.js';
import { readBodies, reportErrors } from './json-api.js';
import { serveVpnkit, type VpnkitTarget } from './vpnkit-api.js';

/** The host, as far as the control API shows and changes it. */
export interface ControlTarget {
  readonly forwards: ForwardTable;
  /** What guests want. */
  readonly leases: Leases;
  status(): StatusReport;
  /** Brings the forwards' counters up to date with what open connections have carried so far. */
  settle(): void;
  /** Open connections, and those that ended last. */
  connections(): ConnectionReport[];
  /** The whole state, for a report of a problem. */
  dump(): DumpReport;
}

export interface ControlServer {
  /** Stops answering, whoever is connected. */
  close(): Promise<void>;
}

/** A body holds one forward or a list of SPECs; node:http bounds the headers. */
const MAX_BODY_BYTES = 1024 * 1024;

/** In a body: as many SPECs as there are ports. */
const MAX_BODY_VALUES = 0x1_0000;

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
  readBodies(app, (text) => parseJson('the body', text, MAX_BODY_VALUES));
  reportErrors(app, logger);
  serveVpnkit(app, () => vpnkitTarget(target));
  app.get('/forwards/dump', async (_request, reply) =>
    reply.type('text/plain; charset=utf-8').send(formatDump(target.dump())),
  );
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

function vpnkitTarget({ forwards, leases }: ControlTarget): VpnkitTarget {
  return {
    expose: async (body) => void (await forwards.expose([ruleFromVpnkit(body)])),
    unexpose: async (body) => void (await leases.unexpose(matcherFromVpnkit(body))),
    list: () => forwards.list().map(({ rule }) => ruleToVpnkit(rule)),
  };
}

function serveV1(app: FastifyInstance, target: ControlTarget): void {
  const { forwards, leases } = target;
  app.get('/v1/status', async () => target.status());
  app.get('/v1/connections', async () => target.connections());
  app.get('/v1/dump', async () => target.dump());
  app.get('/v1/forwards', async () => {
    target.settle();
    return [...forwards.list(), ...leases.waiting()].map(reportForward);
  });
  app.post('/v1/forwards', async (request) => {
    const rules = readSpecs(request.body).flatMap(parseSpec);
    return (await forwards.expose(rules)).map(reportForward);
  });
  app.delete('/v1/forwards', async (request) => {
    const matchers = readSpecs(request.body).map(parseSpecMatcher);
    const removed = await leases.unexpose((rule) => matchers.some((matches) => matches(rule)));
    return removed.map(reportForward);
  });
}

function readSpecs(body: unknown): string[] {
  const specs = (body as { specs?: unknown } | null | undefined)?.specs;
  if (Array.isArray(specs) && specs.length > 0 && specs.every((spec) => typeof spec === 'string'))
    return specs;
  throw new UsageError('the body must be a JSON object such as {"specs":["8080:80"]}');
}
