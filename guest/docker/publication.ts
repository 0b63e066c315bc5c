import { isIP } from 'node:net';
import { nameContainer, SHORT_ID_LENGTH } from '../../protocol/services/container-name.js';
import type { VpnkitPort } from '../../protocol/services/control.js';
import { EVERY_ADDRESS, reachableAt } from '../../protocol/wire/address.js';
import { type Destination, formatHostPort, MAX_PORT } from '../../protocol/wire/destination.js';
import type { Container, PublishedPort } from './containers.js';
import type { PublishRule } from './rules.js';
import { type LabelWishes, readLabelWishes, type Wishes, wishesFor } from './wishes.js';

/** What is to be published, and what there is to say about the rest. */
export interface Publication {
  /** In a fixed order, each one once. */
  forwards: VpnkitPort[];
  remarks: Remark[];
}

/** Something that people should know about a container; the same one has the same text. */
export interface Remark {
  level: 'info' | 'warn' | 'error';
  text: string;
}

/** How the agent gets to containers. */
export interface Reach {
  /** The gateways of the networks in which it reaches containers at their own addresses. */
  linkedGateways: ReadonlySet<string>;
  /** Whether it may dial a destination. */
  mayDial(destination: Destination): boolean;
}

/**
 * What the containers' published ports become on the host: rules decide, in their order, then labels. They
 * lead to the container itself where that can be reached. There it is its own kernel that answers; at the
 * address where the port is published it may be docker-proxy, which takes every connection, and ends those
 * that the container has refused or reset as if all had been well.
 */
export function computePublication(
  containers: readonly Container[],
  rules: readonly PublishRule[],
  reach: Reach,
): Publication {
  const forwards = new Map<string, VpnkitPort>();
  const remarks: Remark[] = [];
  for (const container of containers) {
    if (container.problem !== undefined)
      remarks.push({
        level: 'warn',
        text: `${nameContainer(container)}: its ports are not published: ${container.problem}`,
      });
    const labels = readLabelWishes(container);
    for (const problem of labels.problems)
      remarks.push({ level: 'warn', text: `${nameContainer(container)}: ${problem}` });
    for (const port of container.ports) {
      const outcome = decide(port, container, labels, rules, reach);
      if ('level' in outcome) remarks.push(outcome);
      else for (const forward of outcome.forwards) addOnce(forwards, port, forward);
    }
  }
  const inOrder = [...forwards].sort(([a], [b]) => (a < b ? -1 : 1));
  return { forwards: inOrder.map(([, forward]) => forward), remarks };
}

/** A port is published once; whoever shares a container's network may be listed with it, too. */
function addOnce(forwards: Map<string, VpnkitPort>, port: PublishedPort, forward: VpnkitPort): void {
  const { addresses, port: published } = port;
  const { annotation: _, container: _name, container_id: _id, ...ends } = forward;
  const key = JSON.stringify({ ...ends, in_ip: addresses, in_port: published });
  if (!forwards.has(key)) forwards.set(key, forward);
}

function decide(
  port: PublishedPort,
  container: Container,
  labels: LabelWishes,
  rules: readonly PublishRule[],
  reach: Reach,
): { forwards: VpnkitPort[] } | Remark {
  const { proto } = port;
  const remark = (level: Remark['level'], why: string): Remark => ({
    level,
    text: `${nameContainer(container)}: ${describePort(port)} is not published: ${why}`,
  });
  if (proto !== 'tcp' && proto !== 'udp') return remark('warn', `portferry cannot forward ${proto}`);
  const rule = rules.find((candidate) => candidate.matches(port, container));
  if (rule?.deny) return remark('info', `${rule.name} denies it`);
  if (!labels.publish) return remark('info', 'its label portferry.publish=false asks for that');
  const hostPort = rule?.remap?.(port.port) ?? port.port;
  if (hostPort < 1 || hostPort > MAX_PORT)
    return remark(
      'error',
      `${rule?.name} would make it port ${hostPort}, and ports go from 1 to ${MAX_PORT}`,
    );
  const wishes = { ...wishesFor(port, labels), ...rule?.wishes };
  const hostAddresses = wishes.hostAddresses ?? port.addresses;
  const ips = isEvery(hostAddresses) ? [undefined] : hostAddresses;
  return {
    forwards: ips.map((ip) => ({
      proto,
      ...(ip !== undefined && { out_ip: ip }),
      out_port: hostPort,
      ...destinationOf(proto, port, container, reach),
      annotation: nameContainer(container),
      container: container.name,
      container_id: container.id.slice(0, SHORT_ID_LENGTH),
      ...extras(proto, wishes),
    })),
  };
}

function extras(proto: 'tcp' | 'udp', { proxyVersion, idleSeconds }: Wishes): Partial<VpnkitPort> {
  if (proto === 'udp') return idleSeconds === undefined ? {} : { idle_seconds: idleSeconds };
  return proxyVersion === undefined ? {} : { proxy_protocol: proxyVersion };
}

/** Where the port is reached in the VM: at its container, if that may be dialled, or where it is published. */
function destinationOf(
  proto: 'tcp' | 'udp',
  { addresses, port, privatePort }: PublishedPort,
  { endpoints }: Container,
  { linkedGateways, mayDial }: Reach,
): Pick<VpnkitPort, 'in_ip' | 'in_port'> {
  const [published = ''] = addresses;
  const own = endpoints
    .filter(({ gateway }) => linkedGateways.has(gateway))
    .map(({ address }) => address)
    .filter((ip) => mayDial({ proto, ip, port: privatePort }));
  // The engine, too, leads from one family to the other only where the container has no address of the same.
  const ip = own.find((address) => isIP(address) === isIP(published)) ?? own[0];
  if (ip !== undefined) return { in_ip: ip, in_port: privatePort };
  return { in_ip: reachableAt(published), in_port: port };
}

function describePort({ proto, addresses, port }: PublishedPort): string {
  return `${proto} ${isEvery(addresses) ? `*:${port}` : formatHostPort(addresses.join(), port)}`;
}

function isEvery(addresses: readonly string[]): boolean {
  return EVERY_ADDRESS.every((address) => addresses.includes(address));
}
