import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { Container } from './containers.js';

/** Any port: nothing is sent to it. */
const ANY_PORT = 9;

/**
 * Finds the networks of containers into which this machine has a link of its own, as the engine's machine has
 * into its bridge networks: packets to their containers leave with the gateway's address. Into a macvlan
 * network, say, they would leave with another one, and not arrive.
 * @returns those networks' gateways
 */
export async function findLinkedGateways(containers: readonly Container[]): Promise<ReadonlySet<string>> {
  const examples = new Map<string, string>();
  for (const { endpoints } of containers)
    for (const { gateway, address } of endpoints) examples.set(gateway, address);
  const linked = await Promise.all(
    [...examples].map(async ([gateway, address]) =>
      (await sourceTowards(address)) === gateway ? [gateway] : [],
    ),
  );
  return new Set(linked.flat());
}

/** The address from which packets to another one would leave; undefined where none would. */
function sourceTowards(address: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
    const finish = (source?: string): void => {
      socket.close();
      resolve(source);
    };
    socket.once('error', () => finish()).once('connect', () => finish(socket.address().address));
    // Connecting a UDP socket only looks up the route.
    socket.connect(ANY_PORT, address);
  });
}
