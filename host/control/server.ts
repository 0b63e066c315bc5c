import fastify, { type FastifyInstance } from 'fastify';
import { parseJson } from '../../protocol/bounded-json.js';
import { UsageError } from '../../protocol/errors.js';
import type { Logger } from '../../protocol/program/logger.js';
import type { CaptureSources } from '../capture/captures.js';
import type { Diagnosis } from '../diagnose/diagnosis.js';
import { type PathQuestion, parsePathQuestion } from '../diagnose/path.js';
import { type DumpReport, formatDump } from '../records/dump.js';
import { type ConnectionReport, type ForwardReport, reportForward } from '../records/reports.js';
import { matcherFromVpnkit, parseSpecMatcher } from '../rule/forward-matcher.js';
import { parseSpec } from '../rule/forward-spec.js';
import { ruleFromVpnkit, ruleToVpnkit } from '../rule/vpnkit-rule.js';
import { serveCaptures } from './capture-api.js';
import { type ConnectionLimits, Connections } from './connections.js';
import { type DashboardSwitch, serveDashboardSwitch } from './dashboard-switch.js';
import { readBodies, reportErrors } from './json-api.js';
import { serveEvents } from './late-events.js';
import { serveLogLevel } from './log-level-api.js';
import type { HostMetrics, MeasuredHost } from './metrics.js';
import { describeUnmatched } from './unmatched.js';
import { serveVpnkit, type VpnkitTarget } from './vpnkit-api.js';

/** The host, as far as the control API shows and changes it. */
export interface ControlTarget extends MeasuredHost {
  readonly diagnosis: Diagnosis;
  readonly captureSources: CaptureSources;
  readonly dashboard: DashboardSwitch;
  /** Why what is exposed now would not outlast a restart; undefined when it is saved, or is not to be. */
  readonly saveProblem: string | undefined;
  /** Finds out whether the guest is still there, where that is not known: see ChannelKeeper.probe(). */
  probe(): Promise<void>;
  /** Those that are listened on, and those that are only wanted; with what has been carried so far. */
  reportForwards(): ForwardReport[];
  /** Open connections, and those that ended last. */
  connections(): ConnectionReport[];
  /** The whole state, for a report of a problem. */
  dump(): DumpReport;
}

/** A body holds one forward or a list of SPECs; node:http bounds the headers. */
const MAX_BODY_BYTES = 1024 * 1024;

/** In a body: as many SPECs as there are ports. */
export const MAX_BODY_VALUES = 0x1_0000;

const UNAVAILABLE = 503;

/** What answers the control API on connections that it is given, and has not accepted itself. */
export async function makeControlApp(
  target: ControlTarget,
  logger: Logger,
  limits: ConnectionLimits,
): Promise<FastifyInstance> {
  // That connections are idle, or slow, is looked after by Connections.
  const app = fastify({ bodyLimit: MAX_BODY_BYTES, keepAliveTimeout: 0 });
  const connections = new Connections(app.server, logger, limits);
  refuseBeyond(app, connections);
  readBodies(app, (text) => parseJson('the body', text, MAX_BODY_VALUES));
  reportErrors(app, logger);
  serveVpnkit(app, () => vpnkitTarget(target));
  app.get('/forwards/dump', async (_request, reply) => {
    await target.probe();
    return reply.type('text/plain; charset=utf-8').send(formatDump(target.dump()));
  });
  serveV1(app, target);
  serveLogLevel(app, logger);
  serveMetrics(app, target);
  serveEvents(app, target, {
    connections,
    maxConnections: limits.maxConnections ?? Number.POSITIVE_INFINITY,
    logger,
  });
  serveCaptures(app, target.captureSources);
  // Whoever waits for something to come gets no more. Captures have ended by now.
  app.addHook('preClose', async () => connections.close());
  await app.ready();
  return app;
}

/** What it is made of is loaded with the first scrape. */
function serveMetrics(app: FastifyInstance, target: MeasuredHost): void {
  let made: Promise<HostMetrics> | undefined;
  app.get('/metrics', async (_request, reply) => {
    made ??= import('./metrics.js').then(({ HostMetrics }) => new HostMetrics(target));
    const metrics = await made;
    return reply.type(metrics.contentType).send(await metrics.scrape());
  });
  app.addHook('preClose', async () => (await made)?.close());
}

/** Refuses requests on connections beyond those that there may be. */
export function refuseBeyond(app: FastifyInstance, connections: Connections): void {
  app.addHook('onRequest', async (request, reply) => {
    const message = connections.refusalOf(request.raw.socket);
    if (message === undefined) return;
    await reply.code(UNAVAILABLE).header('connection', 'close').send({ message, code: 'EAGAIN' });
  });
}

function vpnkitTarget({ forwards }: ControlTarget): VpnkitTarget {
  return {
    expose: async (body) => void (await forwards.expose([ruleFromVpnkit(body)])),
    unexpose: async (body) => void (await forwards.unexpose([matcherFromVpnkit(body)])),
    list: () => forwards.list().map(({ rule }) => ruleToVpnkit(rule)),
  };
}

function serveV1(app: FastifyInstance, target: ControlTarget): void {
  const { forwards } = target;
  /** Whoever changes what cannot be saved is to know it. */
  const report = (some: Parameters<typeof reportForward>[0][], consequence: string): ForwardReport[] => {
    const problem = target.saveProblem;
    const warning = problem === undefined ? {} : { warning: `${consequence}: ${problem}` };
    return some.map((forward) => ({ ...reportForward(forward), ...warning }));
  };
  serveReports(app, target);
  serveDashboardSwitch(app, target.dashboard);
  app.get('/v1/dump', async () => {
    await target.probe();
    return target.dump();
  });
  app.post('/v1/forwards', async (request) => {
    const rules = readSpecs(request.body).flatMap(parseSpec);
    return report(await forwards.expose(rules), 'it is listened on, but will not outlast a restart');
  });
  app.delete('/v1/forwards', async (request) => {
    const { removed, unmatched } = await forwards.unexpose(readSpecs(request.body).map(parseSpecMatcher));
    return {
      removed: report(removed, 'it is removed, but may be back after a restart'),
      unmatched: unmatched.map((matcher) => describeUnmatched(matcher, forwards)),
    };
  });
}

/** What only shows how the host is doing, and changes nothing. */
export function serveReports(app: FastifyInstance, target: ControlTarget): void {
  app.get('/v1/status', async () => {
    await target.probe();
    return target.status();
  });
  app.get('/v1/connections', async () => target.connections());
  app.get('/v1/path', async (request) => target.diagnosis.path(readQuestion(request.query)));
  app.get('/v1/doctor', async ({ query }) =>
    asksNothing(query) ? target.diagnosis.health() : target.diagnosis.doctor(readQuestion(query)),
  );
  app.get('/v1/forwards', async () => target.reportForwards());
}

function asksNothing(query: unknown): boolean {
  return (query as { of?: unknown }).of === undefined;
}

/** `?of=8080/udp`, or a container's name. */
function readQuestion(query: unknown): PathQuestion {
  const { of } = query as { of?: unknown };
  if (typeof of === 'string') return parsePathQuestion(of);
  throw new UsageError('which port is meant? Ask with ?of=8080, say');
}

function readSpecs(body: unknown): string[] {
  const specs = (body as { specs?: unknown } | null | undefined)?.specs;
  if (Array.isArray(specs) && specs.length > 0 && specs.every((spec) => typeof spec === 'string'))
    return specs;
  throw new UsageError('the body must be a JSON object such as {"specs":["8080:80"]}');
}
