import type { VpnkitPort } from '../../protocol/services/control.js';
import { formatHostPort, MAX_PORT } from '../../protocol/wire/destination.js';
import { type Container, describeContainer, EVERY_ADDRESS, type PublishedPort } from './containers.js';
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

/** What the containers' published ports become on the host: rules decide, in their order, then labels. */
export function computePublication(
  containers: readonly Container[],
  rules: readonly PublishRule[],
): Publication {
  const forwards = new Map<string, VpnkitPort>();
  const remarks: Remark[] = [];
  for (const container of containers) {
    if (container.problem !== undefined)
      remarks.push({
        level: 'warn',
        text: `${describeContainer(container)}: its ports are not published: ${container.problem}`,
      });
    const labels = readLabelWishes(container);
    for (const problem of labels.problems)
      remarks.push({ level: 'warn', text: `${describeContainer(container)}: ${problem}` });
    for (const port of container.ports) {
      const outcome = decide(port, container, labels, rules);
      if ('level' in outcome) remarks.push(outcome);
      else for (const forward of outcome.forwards) addOnce(forwards, forward);
    }
  }
  const inOrder = [...forwards].sort(([a], [b]) => (a < b ? -1 : 1));
  return { forwards: inOrder.map(([, forward]) => forward), remarks };
}

function addOnce(forwards: Map<string, VpnkitPort>, forward: VpnkitPort): void {
  const key = JSON.stringify({ ...forward, annotation: undefined });
  if (!forwards.has(key)) forwards.set(key, forward);
}

function decide(
  port: PublishedPort,
  container: Container,
  labels: LabelWishes,
  rules: readonly PublishRule[],
): { forwards: VpnkitPort[] } | Remark {
  const { proto } = port;
  const remark = (level: Remark['level'], why: string): Remark => ({
    level,
    text: `${describeContainer(container)}: ${describePort(port)} is not published: ${why}`,
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
      in_ip: reachableAt(port),
      in_port: port.port,
      annotation: describeContainer(container),
      ...extras(proto, wishes),
    })),
  };
}

function extras(proto: 'tcp' | 'udp', { proxyVersion, idleSeconds }: Wishes): Partial<VpnkitPort> {
  if (proto === 'udp') return idleSeconds === undefined ? {} : { idle_seconds: idleSeconds };
  return proxyVersion === undefined ? {} : { proxy_protocol: proxyVersion };
}

/** An address of the VM that leads to the port. */
function reachableAt({ addresses }: PublishedPort): string {
  const [first = ''] = addresses;
  if (first === '0.0.0.0') return '127.0.0.1';
  return first === '::' ? '::1' : first;
}

function describePort({ proto, addresses, port }: PublishedPort): string {
  return `${proto} ${isEvery(addresses) ? `*:${port}` : formatHostPort(addresses.join(), port)}`;
}

function isEvery(addresses: readonly string[]): boolean {
  return EVERY_ADDRESS.every((address) => addresses.includes(address));
}
