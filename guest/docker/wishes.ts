import { formatCount } from '../../protocol/count.js';
import { isIdleSeconds, MAX_IDLE_SECONDS } from '../../protocol/services/control.js';
import { textForPeople } from '../../protocol/services/text.js';
import { canonicalIp, EVERY_ADDRESS, LOCALHOST } from '../../protocol/wire/address.js';
import type { Container, PublishedPort } from './containers.js';

/** How a port is to be published, as far as it matters to whoever wishes. */
export interface Wishes {
  /** The host's addresses; EVERY_ADDRESS for all. */
  hostAddresses?: readonly string[];
  /** The version of the PROXY protocol that the container gets; TCP only. */
  proxyVersion?: 1 | 2;
  /** How long (s) a flow may be idle; UDP only. */
  idleSeconds?: number;
}

/** What a container's labels ask for. */
export interface LabelWishes extends Wishes {
  /** False where nothing of it is to be published. */
  publish: boolean;
  /** The PROXY protocol by the port inside the container; these win over proxyVersion. */
  proxyVersions: ReadonlyMap<number, 1 | 2>;
  /** Labels that cannot be understood: what is wrong, and what is right. */
  problems: readonly string[];
}

const PREFIX = 'portferry.';

/** Labels that are told of; a container can have thousands that mean nothing. */
export const MAX_PROBLEMS = 10;

/** What is quoted of a label, and of its value. */
const MAX_QUOTED_LENGTH = 100;

const KNOWN = ['publish', 'host-address', 'proxy-protocol', 'proxy-protocol.PORT', 'idle'];

/** Reads a container's labels that begin with `portferry.`; a wrong one is a problem, and else as if it were not there. */
export function readLabelWishes({ labels }: Container): LabelWishes {
  const problems: string[] = [];
  let more = 0;
  const proxyVersions = new Map<number, 1 | 2>();
  const wishes: LabelWishes = { publish: true, proxyVersions, problems };
  for (const [label, value] of Object.entries(labels)) {
    if (!label.startsWith(PREFIX)) continue;
    const right = readLabel(label.slice(PREFIX.length), value, wishes, proxyVersions);
    if (right === undefined) continue;
    if (problems.length === MAX_PROBLEMS) {
      more++;
      continue;
    }
    const quoted = [label, value].map((text) => textForPeople(text, MAX_QUOTED_LENGTH)).join('=');
    problems.push(`the label ${quoted} is not understood: ${right}`);
  }
  if (more > 0) problems.push(`${formatCount(more, 'more label')} of it cannot be understood`);
  return wishes;
}

/** @returns undefined, or what would be right */
function readLabel(
  name: string,
  value: string,
  wishes: LabelWishes,
  proxyVersions: Map<number, 1 | 2>,
): string | undefined {
  if (name === 'publish') {
    if (value !== 'true' && value !== 'false') return 'it is true or false';
    wishes.publish = value === 'true';
    return undefined;
  }
  if (name === 'host-address') {
    const hostAddresses = parseHostAddresses(value);
    if (!hostAddresses) return 'it is an IP address, localhost, or * for every address';
    wishes.hostAddresses = hostAddresses;
    return undefined;
  }
  if (name === 'idle') {
    const idleSeconds = parseIdleSeconds(value);
    if (idleSeconds === undefined) return `it is a number of seconds from 1 to ${MAX_IDLE_SECONDS}`;
    wishes.idleSeconds = idleSeconds;
    return undefined;
  }
  const [matched, port] = /^proxy-protocol(?:\.([1-9]\d{0,4}))?$/.exec(name) ?? [];
  if (matched === undefined) return `known are ${KNOWN.map((known) => PREFIX + known).join(', ')}`;
  const version = parseProxyVersion(value);
  if (version === undefined) return 'it is v1 or v2';
  if (port === undefined) wishes.proxyVersion = version;
  else proxyVersions.set(Number(port), version);
  return undefined;
}

/** What the labels wish for one of the container's ports. */
export function wishesFor(port: PublishedPort, labels: LabelWishes): Wishes {
  const { hostAddresses, idleSeconds, proxyVersions } = labels;
  const proxyVersion = proxyVersions.get(port.privatePort) ?? labels.proxyVersion;
  return {
    ...(hostAddresses && { hostAddresses }),
    ...(idleSeconds !== undefined && { idleSeconds }),
    ...(proxyVersion !== undefined && { proxyVersion }),
  };
}

/** An IP address, `localhost`, or `*` for every address. @returns undefined for anything else */
export function parseHostAddresses(value: unknown): readonly string[] | undefined {
  if (value === '*') return EVERY_ADDRESS;
  if (value === 'localhost') return LOCALHOST;
  const ip = typeof value === 'string' ? canonicalIp(value) : undefined;
  return ip === undefined ? undefined : [ip];
}

/** `v1` or `v2`. @returns undefined for anything else */
export function parseProxyVersion(value: unknown): 1 | 2 | undefined {
  if (value === 'v1') return 1;
  return value === 'v2' ? 2 : undefined;
}

/** A number of seconds, as a number or as text. @returns undefined for anything else */
export function parseIdleSeconds(value: unknown): number | undefined {
  const seconds = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  return typeof seconds === 'number' && isIdleSeconds(seconds) ? seconds : undefined;
}
