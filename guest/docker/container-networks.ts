import { canonicalIp } from '../../protocol/wire/address.js';

/** An address that a container has in one of its networks. */
export interface ContainerEndpoint {
  address: string;
  /** Where the container's packets leave that network: in a bridge network, an address of the engine's machine. */
  gateway: string;
}

/** A network of a container, as the engine lists it. */
type Network = Record<string, unknown>;

/**
 * Reads what the engine lists as a container's NetworkSettings. The endpoints are in the order in which the
 * engine prefers the networks itself when it publishes ports: by priority, then by name. What is not
 * understood is left out: ports can be reached without it.
 */
export function readEndpoints(settings: unknown): ContainerEndpoint[] {
  const { Networks: networks } = (settings ?? {}) as { Networks?: unknown };
  if (typeof networks !== 'object' || networks === null) return [];
  return Object.entries(networks as Record<string, Network | null>)
    .sort(([a, one], [b, other]) => priorityOf(other) - priorityOf(one) || (a < b ? -1 : 1))
    .flatMap(([, network]) => [
      ...readEndpoint(network?.['IPAddress'], network?.['Gateway']),
      ...readEndpoint(network?.['GlobalIPv6Address'], network?.['IPv6Gateway']),
    ]);
}

function priorityOf(network: Network | null): number {
  return Number(network?.['GwPriority']) || 0;
}

function readEndpoint(address: unknown, gateway: unknown): ContainerEndpoint[] {
  const [own, way] = [address, gateway].map((ip) => (typeof ip === 'string' ? canonicalIp(ip) : undefined));
  return own === undefined || way === undefined ? [] : [{ address: own, gateway: way }];
}
