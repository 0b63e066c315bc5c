import { hostname, release } from 'node:os';
import { errnoOf, messageOf } from '../../protocol/errors.js';
import { kernelNumber } from '../../protocol/machine/kernel-number.js';
import { findHolders, readProcNet } from '../../protocol/machine/proc-net.js';
import type {
  CandidateReport,
  ContainerReport,
  Finding,
  ListenerReport,
  RivalReport,
  WayReport,
} from '../../protocol/services/inspect.js';
import { type EngineNetwork, findLink, readNetwork } from './container-link.js';
import {
  ENGINE_ID,
  type EngineReader,
  type FoundContainer,
  findContainer,
  findRivals,
  findRunning,
  getJson,
  type Wanted,
} from './engine-containers.js';
import { type Flow, inspectNetfilter } from './netfilter.js';

/** How long (ms) the whole look may take: whoever asks waits for it. */
const TIMEOUT_MS = 8_000;

/** Where an engine serves names in its own networks: that is no server of the container's. */
const ENGINE_DNS = '127.0.0.11';

const NO_CONTAINER = 'no container is known that the port belongs to';

/** Where it is looked; the defaults are this machine. */
export interface InspectionSources {
  /** Undefined: no engine was asked for, and none is at the usual place. */
  engine: EngineReader | undefined;
  proc?: string;
}

/** Looks along the whole way of a port, from the guest's own network to the process in a container. */
export async function inspectWay(
  wanted: Wanted,
  { engine, proc = '/proc' }: InspectionSources,
): Promise<WayReport> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const container = await seen(async () => {
    if (!engine) throw new Error('the guest knows of no Docker engine: give it --docker');
    return (await findContainer(engine, wanted, signal)) ?? null;
  });
  const one = 'found' in container ? container.found : null;
  const network = engine && one ? await findNetwork(engine, one, signal) : undefined;
  const published = publishedFlows(wanted, one?.report);
  const [listeners, candidates, rivals, netfilter, link, inside] = await Promise.all([
    findListeners(`${proc}/net`, proc, published),
    engine && !one && wanted.kind === 'published' ? findCandidates(engine, wanted, proc, signal) : [],
    engine && one && one.report.pid === undefined ? askRivals(engine, one.report, signal) : [],
    inspectNetfilter(published, behindFlow(wanted, one?.report)),
    findContainerLink(one, network),
    findInside(proc, wanted, one?.report),
  ]);
  return {
    machine: {
      hostname: hostname(),
      kernel: kernelNumber(release()),
      clock: Date.now(),
      privileged: process.getuid?.() === 0,
    },
    listeners,
    container: withDriver(container, network),
    rivals,
    candidates,
    ...netfilter,
    link,
    inside,
  };
}

/** @returns what was found, or why nothing could be */
async function seen<T>(look: () => Promise<T>): Promise<Finding<T>> {
  try {
    return { found: await look() };
  } catch (thrown) {
    const denied = ['EACCES', 'EPERM'].includes(errnoOf(thrown) ?? '');
    return { unseen: denied ? 'the agent lacks the privileges to look there' : messageOf(thrown) };
  }
}

function withDriver(
  container: Finding<FoundContainer | null>,
  network: EngineNetwork | undefined,
): Finding<ContainerReport | null> {
  if (!('found' in container)) return container;
  const { found } = container;
  return { found: found && { ...found.report, networkDriver: network?.driver || 'unknown' } };
}

async function findNetwork(
  engine: EngineReader,
  { networkIds }: FoundContainer,
  signal: AbortSignal,
): Promise<EngineNetwork | undefined> {
  const [id] = networkIds;
  if (id === undefined || !ENGINE_ID.test(id)) return undefined;
  const answer = await seen(() => getJson(engine, `/networks/${id}`, signal));
  return 'found' in answer ? readNetwork(answer.found) : undefined;
}

/** Containers in which something listens on a port that nobody publishes. */
async function findCandidates(
  engine: EngineReader,
  { proto, port }: { proto: 'tcp' | 'udp'; port: number },
  proc: string,
  signal: AbortSignal,
): Promise<CandidateReport[]> {
  const running = await seen(() => findRunning(engine, signal));
  if (!('found' in running)) return [];
  const listening = await Promise.all(
    running.found.map(async ({ id, name, pid }) => {
      const sockets = await readProcNet(`${proc}/${pid}/net`, proto).catch(() => []);
      return sockets.some((socket) => socket.port === port) ? [{ id, name }] : [];
    }),
  );
  return listening.flat();
}

async function askRivals(
  engine: EngineReader,
  { published }: ContainerLike,
  signal: AbortSignal,
): Promise<RivalReport[]> {
  const rivals = await seen(() => findRivals(engine, published, signal));
  return 'found' in rivals ? rivals.found : [];
}

/** Where, in the guest's own network, the port is served or published. */
function publishedFlows(
  wanted: Wanted,
  { published, privatePort }: Pick<ContainerLike, 'published' | 'privatePort'> = { published: [] },
): Flow[] {
  const { proto } = wanted;
  const flows = published
    .filter((one) => one.proto === proto && one.privatePort === privatePort)
    .map(({ ip, port }) => ({ proto, ip: ['', '0.0.0.0'].includes(ip) ? '127.0.0.1' : ip, port }));
  if (flows.length > 0 || wanted.kind === 'container') return flows;
  return [{ proto, ip: wanted.kind === 'destination' ? wanted.ip : '127.0.0.1', port: wanted.port }];
}

type ContainerLike = FoundContainer['report'];

/** The packets that go into the container. */
function behindFlow({ proto }: Wanted, container: ContainerLike | undefined): Flow | undefined {
  const [ip] = container?.addresses ?? [];
  const port = container?.privatePort;
  return ip === undefined || port === undefined ? undefined : { proto, ip, port };
}

async function findListeners(
  net: string,
  proc: string,
  flows: readonly Flow[],
): Promise<Finding<ListenerReport[]>> {
  const ports = new Set(flows.map(({ port }) => port));
  const [flow] = flows;
  if (!flow) return { found: [] };
  return seen(async () => {
    const sockets = (await readProcNet(net, flow.proto)).filter(({ port }) => ports.has(port));
    return withHolders(sockets, flow.proto, proc);
  });
}

/** What listens in the container on the port; if nothing does there, what listens on others. */
async function findInside(
  proc: string,
  { proto }: Wanted,
  container: ContainerLike | undefined,
): Promise<Finding<ListenerReport[]>> {
  if (!container) return { unseen: NO_CONTAINER };
  const { pid, state, privatePort } = container;
  if (pid === undefined) return { unseen: `the container does not run: it is ${state}` };
  return seen(async () => {
    const sockets = await readProcNet(`${proc}/${pid}/net`, proto);
    const right = sockets.filter(({ port }) => port === privatePort);
    const others = sockets.filter(({ ip }) => ip !== ENGINE_DNS);
    return withHolders(right.length > 0 ? right : others, proto, proc);
  });
}

async function withHolders(
  sockets: Awaited<ReturnType<typeof readProcNet>>,
  proto: 'tcp' | 'udp',
  proc: string,
): Promise<ListenerReport[]> {
  const holders = await findHolders(
    sockets.map(({ inode }) => inode),
    proc,
  );
  return sockets.map(({ ip, port, inode }) => ({ proto, ip, port, ...holders.get(inode) }));
}

async function findContainerLink(
  container: FoundContainer | null,
  network: EngineNetwork | undefined,
): Promise<WayReport['link']> {
  if (!container) return { unseen: NO_CONTAINER };
  const { pid, state, network: name } = container.report;
  if (pid === undefined) return { unseen: `the container does not run: it is ${state}` };
  if (!network) return { unseen: `its network ${name} has no link in the guest` };
  return findLink(network, pid);
}
