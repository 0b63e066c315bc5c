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

/**
 * Puts all ports into what podman answers to `GET /containers/json`, where a range is but its first port.
 * Both answers are as they were received: what is wrong in them stays so, for parseContainers to find.
 * @param own its answer to `GET /libpod/containers/json`
 */
export function withPodmanPorts(answer: unknown, own: unknown): unknown {
  if (!Array.isArray(answer) || !Array.isArray(own)) return answer;
  const mappings = new Map(own.map((entry: Entry) => [entry?.Id, entry?.Ports]));
  return answer.map((entry: Entry) => {
    const ports = mappings.get(entry?.Id);
    return Array.isArray(ports) ? { ...entry, Ports: ports.flatMap(expand) } : entry;
  });
}

type Entry = { Id?: unknown; Ports?: unknown } | null;

/** The ports of a mapping, as the list for Docker's clients would have them. */
function expand(mapping: PortMapping | null): object[] {
  const { host_ip: ip, host_port: first, container_port: firstPrivate, range, protocol } = mapping ?? {};
  const count = Math.min(Math.max(Number(range) || 1, 1), MAX_PORT);
  return String(protocol)
    .split(',')
    .flatMap((proto) =>
      Array.from({ length: count }, (_, index) => ({
        IP: ip,
        PrivatePort: Number(firstPrivate) + index,
        PublicPort: Number(first) + index,
        Type: proto,
      })),
    );
}
