import type http from 'node:http';
import { SHORT_ID_LENGTH } from '../../protocol/services/container-name.js';
import type { ContainerReport, PublishedReport, RivalReport } from '../../protocol/services/inspect.js';
import { readJson } from '../engine-answer.js';

/** The part of guest/docker's EngineSocket that is needed to look. */
export interface EngineReader {
  /** @throws EngineError */
  get<T>(
    resource: string,
    signal: AbortSignal,
    read: (response: http.IncomingMessage) => Promise<T>,
  ): Promise<T>;
}

/** What is looked for. */
export type Wanted =
  | { readonly kind: 'destination'; proto: 'tcp' | 'udp'; ip: string; port: number }
  | { readonly kind: 'published'; proto: 'tcp' | 'udp'; port: number }
  | { readonly kind: 'container'; proto: 'tcp' | 'udp'; name: string; privatePort: number | undefined };

/** A container as `GET /containers/json?all=1` lists it, as far as it is looked at; anything may be missing. */
interface Listed {
  Id?: unknown;
  Names?: unknown;
  State?: unknown;
  Ports?: unknown;
  NetworkSettings?: {
    Networks?: Record<string, { IPAddress?: unknown; GlobalIPv6Address?: unknown } | null>;
  };
}

/** A container as `GET /containers/ID/json` shows it, as far as it is looked at. */
interface Inspected {
  Id?: unknown;
  Name?: unknown;
  RestartCount?: unknown;
  State?: {
    Status?: unknown;
    Pid?: unknown;
    ExitCode?: unknown;
    Error?: unknown;
    StartedAt?: unknown;
    Health?: { Status?: unknown };
  };
  Config?: { Image?: unknown; ExposedPorts?: Record<string, unknown> | null };
  HostConfig?: { NetworkMode?: unknown; PortBindings?: Record<string, unknown> | null };
  NetworkSettings?: {
    Ports?: Record<string, unknown> | null;
    Networks?: Record<string, { NetworkID?: unknown; IPAddress?: unknown; GlobalIPv6Address?: unknown }>;
  };
}

/** Containers that do not run list no ports: so many of them are looked at for those that they would publish. */
const MAX_STOPPED = 50;

/** So many of those that run are looked into for what listens in them. */
const MAX_RUNNING = 50;

/**
 * The containers that run, and what would be needed to see what listens in them.
 * @throws EngineError when the engine cannot be asked
 */
export async function findRunning(engine: EngineReader, signal: AbortSignal): Promise<RunningContainer[]> {
  const listed = await getJson(engine, '/containers/json', signal);
  const containers = ((Array.isArray(listed) ? listed : []) as Listed[]).slice(0, MAX_RUNNING);
  const inspected = await Promise.all(
    containers.map(({ Id: id }) => getJson(engine, `/containers/${String(id)}/json`, signal)),
  );
  return (inspected as Inspected[]).map(({ Id: id, Name: name, State: state }) => ({
    id: String(id),
    name: String(name).replace(/^\//, ''),
    pid: Number(state?.Pid),
  }));
}

export interface RunningContainer {
  id: string;
  name: string;
  pid: number;
}

/** A container, and the ids of its networks in the order of its addresses. */
export interface FoundContainer {
  report: Omit<ContainerReport, 'networkDriver'>;
  networkIds: string[];
}

/**
 * Finds the container that a port belongs to: one that runs, if there is any, or else one that would publish it.
 * @throws EngineError when the engine cannot be asked
 */
export async function findContainer(
  engine: EngineReader,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<FoundContainer | undefined> {
  const listed = await getJson(engine, '/containers/json?all=1', signal);
  const containers = (Array.isArray(listed) ? listed : []) as Listed[];
  const hit = containers.find((container) => isListedAs(container, wanted));
  if (hit) return inspect(engine, hit, wanted, signal);
  if (wanted.kind === 'container') return undefined;
  const stopped = containers.filter(({ State: state }) => state !== 'running').slice(0, MAX_STOPPED);
  for (const container of stopped) {
    const found = await inspect(engine, container, wanted, signal);
    if (found?.report.privatePort !== undefined) return found;
  }
  return undefined;
}

/**
 * Containers that run and publish ports which another one would publish: it cannot be started beside them.
 * @throws EngineError when the engine cannot be asked
 */
export async function findRivals(
  engine: EngineReader,
  published: readonly PublishedReport[],
  signal: AbortSignal,
): Promise<RivalReport[]> {
  const listed = await getJson(engine, '/containers/json', signal);
  return ((Array.isArray(listed) ? listed : []) as Listed[]).flatMap((container) => {
    const taken = published.find(({ port, proto }) =>
      isListedAs(container, { kind: 'published', proto: proto as 'tcp' | 'udp', port }),
    );
    if (!taken) return [];
    const { Id: id, Names: names } = container;
    const name = Array.isArray(names) ? String(names[0]).replace(/^\//, '') : '';
    return [{ id: String(id), name, port: taken.port }];
  });
}

/** Whether the list says that the port is this container's. */
function isListedAs(container: Listed, wanted: Wanted): boolean {
  if (wanted.kind === 'container') return isNamed(container, wanted.name);
  const { proto, port } = wanted;
  if (wanted.kind === 'destination' && addressesOf(container.NetworkSettings?.Networks).includes(wanted.ip))
    return true;
  const { Ports: ports } = container;
  return (Array.isArray(ports) ? ports : []).some((entry) => {
    const { IP: ip, PublicPort: publicPort, Type: type } = (entry ?? {}) as Record<string, unknown>;
    return publicPort === port && type === proto && (wanted.kind === 'published' || isOn(ip, wanted.ip));
  });
}

/** Whether what is published on an address is there at another one, which leads to this machine. */
function isOn(published: unknown, ip: string): boolean {
  return published === ip || published === undefined || ['', '0.0.0.0', '::'].includes(String(published));
}

function isNamed({ Id: id, Names: names }: Listed, name: string): boolean {
  if (Array.isArray(names) && names.includes(`/${name}`)) return true;
  return typeof id === 'string' && name.length >= SHORT_ID_LENGTH && id.startsWith(name);
}

function addressesOf(networks: NonNullable<Listed['NetworkSettings']>['Networks'] = {}): string[] {
  return Object.values(networks)
    .flatMap((network) => [network?.IPAddress, network?.GlobalIPv6Address])
    .filter((ip): ip is string => typeof ip === 'string' && ip !== '');
}

async function inspect(
  engine: EngineReader,
  { Id: id }: Listed,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<FoundContainer | undefined> {
  if (typeof id !== 'string' || !/^[0-9a-f]+$/.test(id)) return undefined;
  const container = (await getJson(engine, `/containers/${id}/json`, signal)) as Inspected;
  const { State: state, Config: config, HostConfig: hostConfig, NetworkSettings: settings } = container;
  const networks = Object.values(settings?.Networks ?? {});
  const published = readPublished(settings?.Ports) ?? readPublished(hostConfig?.PortBindings) ?? [];
  const addresses = addressesOf(settings?.Networks);
  const privatePort = privatePortOf(wanted, addresses, published);
  const pid = Number(state?.Pid);
  const health = state?.Health?.Status;
  return {
    networkIds: networks.flatMap(({ NetworkID: networkId }) =>
      typeof networkId === 'string' && networkId !== '' ? [networkId] : [],
    ),
    report: {
      id,
      name: String(container.Name ?? '').replace(/^\//, ''),
      image: String(config?.Image ?? ''),
      state: String(state?.Status ?? 'unknown'),
      ...(typeof health === 'string' && health !== 'none' && { health }),
      ...(pid > 0
        ? { pid, upSeconds: (Date.now() - Date.parse(String(state?.StartedAt))) / 1000 || 0 }
        : { exitCode: Number(state?.ExitCode ?? 0) }),
      ...(typeof state?.Error === 'string' && state.Error !== '' && { error: state.Error }),
      restarts: Number(container.RestartCount) || 0,
      addresses,
      network: Object.keys(settings?.Networks ?? {})[0] ?? String(hostConfig?.NetworkMode ?? ''),
      ...(privatePort !== undefined && { privatePort }),
      published,
      exposed: Object.keys(config?.ExposedPorts ?? {}),
    },
  };
}

function privatePortOf(
  wanted: Wanted,
  addresses: readonly string[],
  published: readonly PublishedReport[],
): number | undefined {
  if (wanted.kind === 'container')
    return wanted.privatePort ?? published.find((one) => one.proto === wanted.proto)?.privatePort;
  const { proto, port } = wanted;
  if (wanted.kind === 'destination' && addresses.includes(wanted.ip)) return port;
  return published.find(
    (one) =>
      one.port === port && one.proto === proto && (wanted.kind === 'published' || isOn(one.ip, wanted.ip)),
  )?.privatePort;
}

/** The engine's map of `80/tcp` to where that is published; undefined where there is none, or it is empty. */
function readPublished(ports: Record<string, unknown> | null | undefined): PublishedReport[] | undefined {
  const published = Object.entries(ports ?? {}).flatMap(([inside, bindings]) => {
    const [privatePort, proto = 'tcp'] = inside.split('/');
    return (Array.isArray(bindings) ? bindings : []).map((binding: unknown) => {
      const { HostIp: ip, HostPort: port } = (binding ?? {}) as Record<string, unknown>;
      return { ip: String(ip ?? ''), port: Number(port), privatePort: Number(privatePort), proto };
    });
  });
  return published.length > 0 ? published : undefined;
}

/** @throws EngineError */
export function getJson(engine: EngineReader, resource: string, signal: AbortSignal): Promise<unknown> {
  return engine.get(resource, signal, readJson);
}
