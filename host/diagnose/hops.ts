import { formatCount } from '../../protocol/count.js';
import { nameContainer } from '../../protocol/services/container-name.js';
import type {
  ContainerReport,
  DnatReport,
  DropReport,
  Finding,
  LinkReport,
  ListenerReport,
  WayReport,
} from '../../protocol/services/inspect.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import type { ChannelReport, ForwardReport } from '../records/reports.js';
import type { PathReport } from './path.js';

/** One station of the way, as people read it. */
export interface Hop {
  /** `host`, `forward`, `channel`, `guest`, `DNAT`, `network`, `container`, `server`. */
  name: string;
  /** What is there, or why it cannot be seen. */
  text: string;
  /** Whether it could be seen. */
  seen: boolean;
  /** `false`: it is there, and does nothing, as a forward whose port somebody else forwards. */
  works?: false;
}

/** The stations of a way in their order; what was not found on it is left out, and what could not be seen is not. */
export function hopsOf({ listeners, pid, forwards, channel, guest }: PathReport): Hop[] {
  const [forward] = forwards;
  return [
    ...(listeners ? [hop('host', listeners, (found) => describeHost(found, pid))] : []),
    ...(forward ? [hopOfForward(forward)] : []),
    { name: 'channel', text: describeChannel(channel), seen: true },
    ...('found' in guest ? guestHops(guest.found) : [{ name: 'guest', text: guest.unseen, seen: false }]),
  ];
}

function guestHops({ machine, listeners, container, dnat, drops, link, inside }: WayReport): Hop[] {
  const where = `${machine.hostname} (Linux ${machine.kernel})`;
  const hops = [hop('guest', listeners, (found) => `${where}: ${describeListeners(found)}`)];
  if (!isEmpty(drops)) hops.push(hop('firewall', drops, describeDrops));
  if (!('found' in container)) return [...hops, { name: 'container', text: container.unseen, seen: false }];
  const { found: one } = container;
  if (!one) return hops;
  hops.push({ name: 'container', text: describeContainer(one), seen: true });
  if (!isEmpty(dnat)) hops.push(hop('DNAT', dnat, describeDnat));
  hops.push(hop('network', link, (found) => describeLink(one.network, found)));
  hops.push(hop('server', inside, describeListeners));
  return hops;
}

/** Whether it could be seen that there is none. */
function isEmpty(finding: Finding<readonly unknown[]>): boolean {
  return 'found' in finding && finding.found.length === 0;
}

function describeDrops(drops: readonly DropReport[]): string {
  return drops
    .map(({ by, chain, rule, packets }) => `${by} ${chain}: ${rule} (${packets} packets)`)
    .join('; ');
}

function describeDnat(rules: readonly DnatReport[]): string {
  return rules
    .map(({ by, chain, to, packets }) => `→ ${to} (${by}, chain ${chain}, ${packets ?? '?'} packets)`)
    .join('; ');
}

function describeLink(network: string, { bridge, up, veth }: LinkReport): string {
  const state = up === false ? ' (down)' : '';
  return [
    `network ${network}`,
    bridge === undefined ? 'no bridge' : `bridge ${bridge}${state}`,
    veth === undefined ? 'no veth' : `veth ${veth}`,
  ].join(', ');
}

function hop<T>(
  name: string,
  finding: { found: T } | { unseen: string },
  describe: (found: T) => string,
): Hop {
  return 'found' in finding
    ? { name, text: describe(finding.found), seen: true }
    : { name, text: finding.unseen, seen: false };
}

function describeHost(found: readonly ListenerReport[], pid: number): string {
  if (found.length === 0) return 'nothing listens on this port';
  const ours = found.filter((listener) => listener.pid === pid);
  const others = found.filter((listener) => listener.pid !== pid);
  return [
    ...(ours.length > 0 ? [`portferry (pid ${pid}) listens on ${addressesOf(ours)}`] : []),
    ...(others.length > 0 ? [describeListeners(others)] : []),
  ].join('; ');
}

/** `nginx (pid 12) listens on 0.0.0.0:80, [::]:80`, for each process. */
export function describeListeners(listeners: readonly ListenerReport[]): string {
  if (listeners.length === 0) return 'nothing listens there';
  return [...groupBy(listeners, describeProcess)]
    .map(([who, some]) => `${who} listens on ${addressesOf(some)}`)
    .join('; ');
}

export function describeProcess({ command, pid }: ListenerReport): string {
  return command === undefined ? 'a process that cannot be seen' : `${command} (pid ${pid})`;
}

function groupBy<T>(values: readonly T[], keyOf: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of values) {
    const group = groups.get(keyOf(value));
    if (group) group.push(value);
    else groups.set(keyOf(value), [value]);
  }
  return groups;
}

function addressesOf(listeners: readonly ListenerReport[]): string {
  return listeners.map(({ ip, port }) => formatHostPort(ip, port)).join(', ');
}

function hopOfForward(forward: ForwardReport): Hop {
  const idle = forward.state === 'listening' ? {} : ({ works: false } as const);
  return { name: 'forward', text: describeForward(forward), seen: true, ...idle };
}

function describeForward({ id, destination, state, error, publisher, annotation }: ForwardReport): string {
  const by = annotation ?? publisher;
  const trouble = state === 'listening' ? '' : `, ${state}${error === undefined ? '' : `: ${error}`}`;
  return `${id} → ${destination}${by === undefined ? '' : `, for ${by}`}${trouble}`;
}

export function describeChannel({
  state,
  address,
  since,
  peer,
  roundTripMs,
  streams,
  lastError,
}: ChannelReport): string {
  if (state === 'waiting')
    return `${address}: there is none since ${since}${lastError === undefined ? '' : ` (${lastError})`}`;
  const who = peer?.version ? `portferry-guest ${peer.version}` : 'a plain guest, such as vpnkit-forwarder';
  const roundTrip = roundTripMs === undefined ? '' : `, round trip ${roundTripMs.toFixed(2)} ms`;
  return `${address}: ${who}${roundTrip}, ${formatCount(streams, 'stream')}`;
}

function describeContainer(container: ContainerReport): string {
  const { image, state, health, exitCode, addresses, privatePort } = container;
  return [
    `${nameContainer(container)}, image ${image}`,
    `${state}${exitCode === undefined ? '' : ` with exit code ${exitCode}`}${health === undefined ? '' : `, ${health}`}`,
    ...(addresses.length > 0 ? [addresses.join(' ')] : []),
    ...(privatePort === undefined ? [] : [`port ${privatePort}`]),
  ].join(', ');
}
