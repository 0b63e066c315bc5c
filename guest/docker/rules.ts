import { readFileSync } from 'node:fs';
import { messageOf, UsageError } from '../../protocol/errors.js';
import { MAX_IDLE_SECONDS } from '../../protocol/services/control.js';
import { canonicalIp, EVERY_ADDRESS } from '../../protocol/wire/address.js';
import { MAX_PORT } from '../../protocol/wire/destination.js';
import type { Container, PublishedPort } from './containers.js';
import { parseHostAddresses, parseIdleSeconds, parseProxyVersion, type Wishes } from './wishes.js';

/** Decides about published ports; of several the first one that matches. */
export interface PublishRule {
  /** For people. */
  readonly name: string;
  matches(port: PublishedPort, container: Container): boolean;
  /** Not to be published at all. */
  readonly deny: boolean;
  /** The host's port for one in the VM, if it is another one; it may be none that there is. */
  remap?(port: number): number;
  readonly wishes: Wishes;
}

interface PortRange {
  first: number;
  last: number;
}

/** What to do where a rule is wrong: the documentation has them all. */
const EXAMPLE = '[{"ports": "8000-8999", "remap": "+10000"}, {"container": "db-*", "deny": true}]';

/**
 * What comes after the rules of the user: ports that the VM's neighbours use among themselves, and the host,
 * too. Whoever does want one writes a rule for it.
 */
const DEFAULTS = [
  { name: 'default:dhcp', ports: 68, proto: 'udp', deny: true },
  { name: 'default:mdns', ports: 5353, proto: 'udp', deny: true },
  { name: 'default:llmnr', ports: 5355, deny: true },
];

/**
 * Reads a rule file: a JSON list of rules. The default rules follow them.
 * @throws UsageError that names the file, the rule, what is wrong and what is right
 */
export function readRuleFile(path: string): PublishRule[] {
  const where = `the rules of ${path}`;
  let rules: unknown;
  try {
    rules = JSON.parse(readFileSync(path, 'utf8'));
  } catch (thrown) {
    const problem = thrown instanceof SyntaxError ? 'are no valid JSON' : 'cannot be read';
    throw new UsageError(`${where} ${problem}: ${messageOf(thrown)}`);
  }
  return parsePublishRules(rules, path);
}

/**
 * What is in a rule file, and the default rules behind it.
 * @param path of the file, for messages
 * @throws UsageError as readRuleFile
 */
export function parsePublishRules(rules: unknown, path: string): PublishRule[] {
  if (!Array.isArray(rules)) throw new UsageError(`the rules of ${path} must be a list, such as ${EXAMPLE}`);
  return [
    ...rules.map((rule: unknown, index) => {
      try {
        return parseRule(rule, `rule ${index + 1}`);
      } catch (thrown) {
        throw new UsageError(`rule ${index + 1} of ${path}: ${messageOf(thrown)}`);
      }
    }),
    ...DEFAULT_RULES,
  ];
}

/** One key of a rule, and how it is read; each reader throws a UsageError. */
interface RuleFields {
  name: string;
  deny: boolean;
  ports: PortRange;
  proto: 'tcp' | 'udp';
  address: readonly string[];
  label: (container: Container) => boolean;
  container: (container: Container) => boolean;
  remap: number | ((port: number) => number);
  bind: readonly string[];
  proxy: 1 | 2;
  idle: number;
}

const READERS: { [Key in keyof RuleFields]: (value: unknown) => RuleFields[Key] } = {
  name: (value) => readText('name', value),
  deny: (value) => {
    if (typeof value === 'boolean') return value;
    throw bad('deny', 'true or false', value);
  },
  ports: parsePorts,
  proto: (value) => {
    if (value === 'tcp' || value === 'udp') return value;
    throw bad('proto', '"tcp" or "udp"', value);
  },
  address: (value) => {
    if (value === '*') return EVERY_ADDRESS;
    const ip = typeof value === 'string' ? canonicalIp(value) : undefined;
    if (ip !== undefined) return [ip];
    throw bad('address', 'a literal IP address, or "*" for a port that is published on every one', value);
  },
  label: parseLabelMatcher,
  container: (value) => parseNameMatcher(readText('container', value)),
  remap: parseRemap,
  bind: (value) => parseHostAddresses(value) ?? throwBad('bind', 'an IP address, "localhost" or "*"', value),
  proxy: (value) => parseProxyVersion(value) ?? throwBad('proxy', '"v1" or "v2"', value),
  idle: (value) =>
    parseIdleSeconds(value) ?? throwBad('idle', `a number of seconds from 1 to ${MAX_IDLE_SECONDS}`, value),
};

export const DEFAULT_RULES: readonly PublishRule[] = DEFAULTS.map((rule, index) =>
  parseRule(rule, `default rule ${index + 1}`),
);

function parseRule(rule: unknown, defaultName: string): PublishRule {
  const fields = readFields(rule);
  checkTogether(fields);
  const { name = defaultName, deny = false, remap, ports, proto, address, label, container } = fields;
  const { bind, proxy, idle } = fields;
  const wishes: Wishes = {};
  if (bind) wishes.hostAddresses = bind;
  if (proxy) wishes.proxyVersion = proxy;
  if (idle) wishes.idleSeconds = idle;
  return {
    name,
    deny,
    ...(remap !== undefined && { remap: typeof remap === 'number' ? () => remap : remap }),
    wishes,
    matches: (port, owner) =>
      (!ports || (port.port >= ports.first && port.port <= ports.last)) &&
      (!proto || port.proto === proto) &&
      (!address || address.every((ip) => port.addresses.includes(ip))) &&
      (!label || label(owner)) &&
      (!container || container(owner)),
  };
}

function readFields(rule: unknown): Partial<RuleFields> {
  if (typeof rule !== 'object' || rule === null || Array.isArray(rule))
    throw new UsageError(`it must be an object such as those in ${EXAMPLE}`);
  const fields: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(rule)) {
    if (!Object.hasOwn(READERS, key))
      throw new UsageError(`unknown key "${key}": known are ${Object.keys(READERS).join(', ')}`);
    fields[key] = READERS[key as keyof RuleFields](value);
  }
  return fields;
}

/** Keys that are right by themselves, and contradict each other. */
function checkTogether({ deny, ports, proto, remap, bind, proxy, idle }: Partial<RuleFields>): void {
  if (deny && (remap ?? bind ?? proxy ?? idle) !== undefined)
    throw new UsageError(
      '"deny" publishes nothing, so that remap, bind, proxy and idle have no place beside it',
    );
  if (typeof remap === 'number' && (!ports || ports.first !== ports.last))
    throw new UsageError(
      `"remap": ${remap} is one port, and needs one port in "ports"; for more, give an offset such as "+10000"`,
    );
  if (proxy !== undefined && proto === 'udp') throw new UsageError('"proxy" is for "proto" "tcp" only');
  if (idle !== undefined && proto === 'tcp') throw new UsageError('"idle" is for "proto" "udp" only');
}

function parsePorts(value: unknown): PortRange {
  const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(String(value)) ?? [];
  const range = { first: Number(first), last: Number(last) };
  if (range.first >= 1 && range.first <= range.last && range.last <= MAX_PORT) return range;
  throw bad('ports', 'a port such as 80, or a range such as "8000-8999"', value);
}

function parseRemap(value: unknown): RuleFields['remap'] {
  const text = String(value);
  const number = Number(text);
  if (typeof value === 'string' && /^[+-]\d+$/.test(text)) return (port) => port + number;
  if (/^\d+$/.test(text) && number >= 1 && number <= MAX_PORT) return number;
  throw bad('remap', 'a port such as 18080, or an offset such as "+10000"', value);
}

/** `KEY` or `KEY=VALUE`. */
function parseLabelMatcher(value: unknown): RuleFields['label'] {
  const text = readText('label', value);
  const [, key = '', wanted] =
    /^([^=]+)(?:=(.*))?$/s.exec(text) ?? throwBad('label', '"KEY" or "KEY=VALUE"', value);
  return ({ labels }) => Object.hasOwn(labels, key) && (wanted === undefined || labels[key] === wanted);
}

/**
 * A container's name, in which `*` stands for anything. No regular expression: with many `*`, one could take ages
 * to find that a name does not match.
 */
function parseNameMatcher(pattern: string): RuleFields['container'] {
  const [start = '', ...others] = pattern.split('*');
  const end = others.pop();
  if (end === undefined) return ({ name }) => name === pattern;
  return ({ name }) => {
    if (!name.startsWith(start)) return false;
    let at = start.length;
    for (const part of others) {
      const found = name.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return name.length - at >= end.length && name.endsWith(end);
  };
}

function readText(key: string, value: unknown): string {
  if (typeof value === 'string' && value !== '') return value;
  throw bad(key, 'a string that is not empty', value);
}

function bad(key: string, right: string, value: unknown): UsageError {
  return new UsageError(`"${key}" must be ${right}, not ${JSON.stringify(value)}`);
}

function throwBad(key: string, right: string, value: unknown): never {
  throw bad(key, right, value);
}
