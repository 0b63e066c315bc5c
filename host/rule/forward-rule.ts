import { EVERY_ADDRESS, LOCALHOST } from '../../protocol/wire/address.js';
import { type Destination, formatHostPort } from '../../protocol/wire/destination.js';

/** How long (s) a UDP flow may be idle before it ends, where its forward says nothing else: the same as vpnkit's. */
export const DEFAULT_IDLE_SECONDS = 90;

/** A forward as it is asked for. */
export type ForwardRule = PortRule | PathRule;

/** What people are told of a forward beside its ends; nothing about it changes with that. */
export interface Note {
  annotation?: string;
  /** The name of the container that it is for, and the beginning of its id. */
  container?: string;
  containerId?: string;
}

/** From a port of the host. */
export interface PortRule extends Note {
  proto: 'tcp' | 'udp';
  /**
   * Literal addresses in their canonical form: `['127.0.0.1', '::1']` is localhost, `['0.0.0.0', '::']` every
   * address. Each stands for its own family only, `'::'` too.
   */
  hostIps: string[];
  /** 0 stands for a free one. */
  hostPort: number;
  destination: Destination;
  /** Tells a TCP destination who the client is, in a header of this version before its first byte. */
  proxyProtocol?: 1 | 2;
  /** How long (s) a UDP flow may be idle; see DEFAULT_IDLE_SECONDS. */
  idleSeconds?: number;
}

/** From a unix socket of the host. */
export interface PathRule extends Note {
  proto: 'unix';
  hostPath: string;
  destination: Destination;
}

const NOTES = ['annotation', 'container', 'containerId'] as const;

/** Gives a rule another note; what the new one does not say goes. */
export function setNote(rule: Note, note: Note): void {
  for (const name of NOTES) {
    const text = note[name];
    if (text === undefined) delete rule[name];
    else rule[name] = text;
  }
}

/** The host's end: `localhost:8080`, `*:8080`, `[::1]:80` or a path. */
export function formatHostEnd(rule: ForwardRule): string {
  if (rule.proto === 'unix') return rule.hostPath;
  if (sameAddresses(rule.hostIps, LOCALHOST)) return `localhost:${rule.hostPort}`;
  if (sameAddresses(rule.hostIps, EVERY_ADDRESS)) return `*:${rule.hostPort}`;
  return rule.hostIps.map((ip) => formatHostPort(ip, rule.hostPort)).join(',');
}

/** The guest's end: `127.0.0.1:80` or a path. */
export function formatGuestEnd({ destination }: ForwardRule): string {
  if (destination.proto === 'unix') return destination.path;
  return formatHostPort(destination.ip, destination.port);
}

/** The SPEC of a rule, in full: parseSpec reads it back. The note has no place in it. */
export function formatRule(rule: ForwardRule): string {
  if (rule.proto === 'unix') return `unix:${formatHostEnd(rule)}:${formatGuestEnd(rule)}`;
  const { proto, proxyProtocol, idleSeconds } = rule;
  const proxy = proxyProtocol === undefined ? '' : `/proxy=v${proxyProtocol}`;
  const idle = idleSeconds === undefined ? '' : `/idle=${idleSeconds}`;
  return `${formatHostEnd(rule)}:${formatGuestEnd(rule)}/${proto}${proxy}${idle}`;
}

/** Forwards of the same port and protocol, or path, have this text in common, whatever their addresses. */
export function hostEndKey(proto: ForwardRule['proto'], end: number | string): string {
  return `${proto} ${end}`;
}

/** Whether a socket on one address is in the way of one on the other. */
export function addressesOverlap(a: string, b: string): boolean {
  if (a === b) return true;
  const sameFamily = a.includes(':') === b.includes(':');
  return sameFamily && [a, b].some((ip) => ip === '0.0.0.0' || ip === '::');
}

function sameAddresses(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((ip, index) => ip === b[index]);
}
