import { messageOf, OperationError } from '../../protocol/errors.js';
import { SHORT_ID_LENGTH } from '../../protocol/services/container-name.js';
import { canonicalIp, EVERY_ADDRESS } from '../../protocol/wire/address.js';
import { MAX_PORT } from '../../protocol/wire/destination.js';
import { type ContainerEndpoint, readEndpoints } from './container-networks.js';

/** A container that runs, as far as publishing its ports is concerned. */
export interface Container {
  /** The whole id, in hexadecimal. */
  id: string;
  name: string;
  labels: Readonly<Record<string, string>>;
  ports: readonly PublishedPort[];
  /** Its own addresses, the one that its engine would choose first. */
  endpoints: readonly ContainerEndpoint[];
  /** Why its ports are not known, though it may have some. */
  problem?: string;
}

/** A port that dockerd has published in the VM. */
export interface PublishedPort {
  /** `tcp` and `udp` can be forwarded; there may be others, such as `sctp`. */
  proto: string;
  /** Where dockerd listens: literal addresses in canonical form, EVERY_ADDRESS for both families. */
  addresses: readonly string[];
  /** The port in the VM. */
  port: number;
  /** The port inside the container. */
  privatePort: number;
}

/**
 * Reads the engine's answer to `GET /containers/json`. Ports that are not published are left out, and what
 * dockerd lists twice, once per family, becomes one. A container that cannot be understood has a problem, and
 * the others are as if it were not there.
 * @throws OperationError when the answer is no list
 */
export function parseContainers(answer: unknown): Container[] {
  if (!Array.isArray(answer)) throw malformed('it is no list');
  return answer.map((entry: unknown, index) => {
    const fallback = {
      id: idOf(entry) ?? '',
      name: `number ${index + 1} of the list`,
      labels: {},
      ports: [],
      endpoints: [],
    };
    try {
      return parseContainer(entry);
    } catch (thrown) {
      return { ...fallback, problem: messageOf(thrown) };
    }
  });
}

function parseContainer(entry: unknown): Container {
  const fields = readObject(entry, 'a container');
  const id = idOf(entry);
  if (id === undefined) throw malformed('a container has no Id');
  const what = `container ${shortId(id)}`;
  return {
    id,
    name: readName(fields['Names'], what) ?? shortId(id),
    labels: readLabels(fields['Labels'], what),
    ports: joinFamilies(readList(fields['Ports'], `${what}: Ports`).flatMap((port) => readPort(port, what))),
    endpoints: readEndpoints(fields['NetworkSettings']),
  };
}

function idOf(entry: unknown): string | undefined {
  const id = (entry as { Id?: unknown } | null)?.Id;
  return typeof id === 'string' && id !== '' ? id : undefined;
}

function shortId(id: string): string {
  return id.slice(0, SHORT_ID_LENGTH);
}

/** Names begin with a slash; one with a second slash is what another container calls it. */
function readName(names: unknown, what: string): string | undefined {
  const texts = readList(names, `${what}: Names`).filter((name) => typeof name === 'string');
  const own = texts.find((name) => name.lastIndexOf('/') <= 0) ?? texts[0];
  return own?.replace(/^\//, '') || undefined;
}

function readLabels(labels: unknown, what: string): Record<string, string> {
  const fields = readObject(labels ?? {}, `${what}: Labels`);
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, String(value)]));
}

function readPort(entry: unknown, what: string): PublishedPort[] {
  const {
    IP: ip,
    PrivatePort: privatePort,
    PublicPort: port,
    Type: proto,
  } = readObject(entry, `${what}: a port`);
  if (port === undefined || port === 0) return [];
  if (!isPort(port) || !isPort(privatePort) || typeof proto !== 'string')
    throw malformed(`${what} has the port ${JSON.stringify(entry)}`);
  return [{ proto, addresses: readAddresses(ip, what), port, privatePort }];
}

/** Older engines name no address for a port that is published on every one. */
function readAddresses(ip: unknown, what: string): readonly string[] {
  if (ip === undefined || ip === '') return EVERY_ADDRESS;
  const canonical = typeof ip === 'string' ? canonicalIp(ip) : undefined;
  if (canonical !== undefined) return [canonical];
  throw malformed(`${what} has a port published on the address ${JSON.stringify(ip)}`);
}

function joinFamilies(ports: readonly PublishedPort[]): PublishedPort[] {
  const joined = new Map<string, Set<string>>();
  for (const { proto, port, privatePort, addresses } of ports) {
    const key = `${proto} ${port} ${privatePort}`;
    const known = joined.get(key) ?? new Set();
    joined.set(key, known);
    for (const address of addresses) known.add(address);
  }
  return [...joined].flatMap(([key, known]) => {
    const [proto = '', port, privatePort] = key.split(' ');
    const every = EVERY_ADDRESS.every((address) => known.has(address));
    const single = [...known].filter((address) => !every || !EVERY_ADDRESS.includes(address));
    const each = [...(every ? [EVERY_ADDRESS] : []), ...single.map((address) => [address])];
    return each.map((addresses) => ({
      proto,
      addresses,
      port: Number(port),
      privatePort: Number(privatePort),
    }));
  });
}

function isPort(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MAX_PORT;
}

function readObject(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw malformed(`${what} is no object`);
}

/** In Go's JSON a list without entries may be null. */
function readList(value: unknown, what: string): unknown[] {
  const list = value ?? [];
  if (Array.isArray(list)) return list;
  throw malformed(`${what} is no list`);
}

function malformed(why: string): OperationError {
  return new OperationError(`its list of containers cannot be understood: ${why}`);
}
