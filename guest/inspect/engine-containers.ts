import type http from 'node:http';
import { SHORT_ID_LENGTH } from '../../protocol/services/container-name.js';
import type { ContainerReport, PublishedReport, RivalReport } from '../../protocol/services/inspect.js';
import { type Fields, fieldsOf, listOf, numberOf, readJson, textOf } from '../engine-answer.js';

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

/** What an engine's things are asked for by, so that nothing else may stand there. */
export const ENGINE_ID = /^[0-9a-f]+$/;

/** Containers that do not run list no ports: so many of them are looked at for those that they would publish. */
export const MAX_STOPPED = 50;

/** So many of those that run are looked into for what listens in them. */
export const MAX_RUNNING = 50;

/**
 * The containers that run, and what would be needed to see what listens in them.
 * @throws EngineError when the engine cannot be asked
 */
export async function findRunning(engine: EngineReader, signal: AbortSignal): Promise<RunningContainer[]> {
  const ids = (await list(engine, '/containers/json', signal)).map(({ Id: id }) => textOf(id));
  return Promise.all(
    ids
      .filter((id) => ENGINE_ID.test(id))
      .slice(0, MAX_RUNNING)
      .map(async (id) => {
        const { Name: name, State: state } = await inspect(engine, id, signal);
        return { id, name: nameOf(name), pid: numberOf(fieldsOf(state)['Pid']) };
      }),
  );
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
  const containers = await list(engine, '/containers/json?all=1', signal);
  const hit = containers.find((container) => isListedAs(container, wanted));
  if (hit) return find(engine, hit, wanted, signal);
  if (wanted.kind === 'container') return undefined;
  const stopped = containers.filter(({ State: state }) => state !== 'running').slice(0, MAX_STOPPED);
  for (const container of stopped) {
    const found = await find(engine, container, wanted, signal);
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
  return (await list(engine, '/containers/json', signal)).flatMap((container) => {
    const taken = published.find(({ port, proto }) =>
      isListedAs(container, { kind: 'published', proto: proto as 'tcp' | 'udp', port }),
    );
    if (!taken) return [];
    const { Id: id, Names: names } = container;
    return [{ id: textOf(id), name: nameOf(listOf(names)[0]), port: taken.port }];
  });
}

/** Whether the list says that the port is this container's. */
function isListedAs(container: Fields, wanted: Wanted): boolean {
  if (wanted.kind === 'container') return isNamed(container, wanted.name);
  const { proto, port } = wanted;
  const { NetworkSettings: settings, Ports: ports } = container;
  if (wanted.kind === 'destination' && addressesOf(networksOf(settings)).includes(wanted.ip)) return true;
  return listOf(ports).some((entry) => {
    const { IP: ip, PublicPort: publicPort, Type: type } = fieldsOf(entry);
    return publicPort === port && type === proto && (wanted.kind === 'published' || isOn(ip, wanted.ip));
  });
}

/** Whether what is published on an address is there at another one, which leads to this machine. */
function isOn(published: unknown, ip: string): boolean {
  return published === ip || published === undefined || ['', '0.0.0.0', '::'].includes(published as string);
}

function isNamed({ Id: id, Names: names }: Fields, name: string): boolean {
  return (
    listOf(names).includes(`/${name}`) || (name.length >= SHORT_ID_LENGTH && textOf(id).startsWith(name))
  );
}

/** Names begin with a slash. */
function nameOf(name: unknown): string {
  return textOf(name).replace(/^\//, '');
}

/** The networks in what an engine says of a container's, by their names. */
function networksOf(settings: unknown): [name: string, network: Fields][] {
  const { Networks: networks } = fieldsOf(settings);
  return Object.entries(fieldsOf(networks)).map(([name, network]) => [name, fieldsOf(network)]);
}

function addressesOf(networks: readonly [string, Fields][]): string[] {
  return networks
    .flatMap(([, { IPAddress: ip, GlobalIPv6Address: ipv6 }]) => [textOf(ip), textOf(ipv6)])
    .filter((ip) => ip !== '');
}

/** As `GET /containers/json` lists them. */
async function list(engine: EngineReader, resource: string, signal: AbortSignal): Promise<Fields[]> {
  return listOf(await getJson(engine, resource, signal)).map(fieldsOf);
}

/** As `GET /containers/ID/json` shows it. */
async function inspect(engine: EngineReader, id: string, signal: AbortSignal): Promise<Fields> {
  return fieldsOf(await getJson(engine, `/containers/${id}/json`, signal));
}

async function find(
  engine: EngineReader,
  listed: Fields,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<FoundContainer | undefined> {
  const id = textOf(listed['Id']);
  if (!ENGINE_ID.test(id)) return undefined;
  const container = await inspect(engine, id, signal);
  const config = fieldsOf(container['Config']);
  const hostConfig = fieldsOf(container['HostConfig']);
  const networks = networksOf(container['NetworkSettings']);
  const ports = fieldsOf(container['NetworkSettings'])['Ports'];
  const published = readPublished(ports) ?? readPublished(hostConfig['PortBindings']) ?? [];
  const addresses = addressesOf(networks);
  const privatePort = privatePortOf(wanted, addresses, published);
  return {
    networkIds: networks.map(([, { NetworkID: id }]) => textOf(id)).filter((id) => id !== ''),
    report: {
      id,
      name: nameOf(container['Name']),
      image: textOf(config['Image']),
      ...reportState(fieldsOf(container['State'])),
      restarts: numberOf(container['RestartCount']),
      addresses,
      network: networks[0]?.[0] ?? textOf(hostConfig['NetworkMode']),
      ...(privatePort !== undefined && { privatePort }),
      published,
      exposed: Object.keys(fieldsOf(config['ExposedPorts'])),
    },
  };
}

function reportState(
  state: Fields,
): Pick<ContainerReport, 'state' | 'health' | 'pid' | 'upSeconds' | 'exitCode' | 'error'> {
  const pid = numberOf(state['Pid']);
  const health = textOf(fieldsOf(state['Health'])['Status']);
  const error = textOf(state['Error']);
  return {
    state: textOf(state['Status']) || 'unknown',
    ...(health !== '' && health !== 'none' && { health }),
    ...(pid > 0
      ? { pid, upSeconds: (Date.now() - Date.parse(textOf(state['StartedAt']))) / 1000 || 0 }
      : { exitCode: numberOf(state['ExitCode']) }),
    ...(error !== '' && { error }),
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
function readPublished(ports: unknown): PublishedReport[] | undefined {
  const published = Object.entries(fieldsOf(ports)).flatMap(([inside, bindings]) => {
    const [privatePort, proto = 'tcp'] = inside.split('/');
    return listOf(bindings).map((binding) => {
      const { HostIp: ip, HostPort: port } = fieldsOf(binding);
      return { ip: textOf(ip), port: numberOf(port), privatePort: numberOf(privatePort), proto };
    });
  });
  return published.length > 0 ? published : undefined;
}

/** @throws EngineError */
export function getJson(engine: EngineReader, resource: string, signal: AbortSignal): Promise<unknown> {
  return engine.get(resource, signal, readJson);
}
