import { OperationError } from '../../protocol/errors.js';
import { MAX_PORT } from '../../protocol/wire/destination.js';

/** Some ports of a container, one after the other, as podman's own list has them. */
interface PortMapping {
  host_ip?: unknown;
  host_port?: unknown;
  container_port?: unknown;
  /** How many; 0 is one. */
  range?: unknown;
  /** One, or several with commas between them. */
  protocol?: unknown;
}

/** As many ports may come of an answer: a few bytes of it can say that there are 65,535 for each of many protocols. */
const MAX_EXPANDED_PORTS = 262_144;

/**
 * Puts all ports into what podman answers to `GET /containers/json`, where a range is but its first port.
 * Both answers are as they were received: what is wrong in them stays so, for parseContainers to find.
 * @param own its answer to `GET /libpod/containers/json`
 * @throws OperationError when there are too many of them
 */
export function withPodmanPorts(answer: unknown, own: unknown): unknown {
  if (!Array.isArray(answer) || !Array.isArray(own)) return answer;
  const mappings = new Map(own.map((entry: Entry) => [entry?.Id, entry?.Ports]));
  let left = MAX_EXPANDED_PORTS;
  const expandCounted = (mapping: PortMapping | null): object[] => {
    const protocols = String(mapping?.protocol).split(',');
    left -= protocols.length * countOf(mapping);
    if (left < 0) throw new OperationError(`its containers have more than ${MAX_EXPANDED_PORTS} ports`);
    return protocols.flatMap((protocol) => expand(mapping, protocol));
  };
  return answer.map((entry: Entry) => {
    const ports = mappings.get(entry?.Id);
    return Array.isArray(ports) ? { ...entry, Ports: ports.flatMap(expandCounted) } : entry;
  });
}

type Entry = { Id?: unknown; Ports?: unknown } | null;

function countOf(mapping: PortMapping | null): number {
  return Math.min(Math.max(Number(mapping?.range) || 1, 1), MAX_PORT);
}

/** The ports of a mapping, as the list for Docker's clients would have them. */
function expand(mapping: PortMapping | null, protocol: string): object[] {
  const { host_ip: ip, host_port: first, container_port: firstPrivate } = mapping ?? {};
  return Array.from({ length: countOf(mapping) }, (_, index) => ({
    IP: ip,
    PrivatePort: Number(firstPrivate) + index,
    PublicPort: Number(first) + index,
    Type: protocol,
  }));
}
