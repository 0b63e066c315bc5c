import { UsageError } from '../errors.js';
import type {
  ContainerReport,
  DnatReport,
  DropReport,
  Finding,
  LinkReport,
  ListenerReport,
  MachineReport,
  PublishedReport,
  WayReport,
} from './inspect.js';
import { textForPeople } from './text.js';

/**
 * What the guest answers about a way, checked before it is shown: a guest can be another version, or have been
 * taken over.
 */

/** What is taken of a list; a port has a few listeners, rules, and addresses. */
const MAX_LISTED = 100;

type Fields = Record<string, unknown>;

/** @throws UsageError when it is no WayReport */
export function readWayReport(body: unknown): WayReport {
  const way = fieldsOf(body);
  return {
    machine: readMachine(fieldsOf(way['machine'])),
    listeners: readFinding(way['listeners'], (value) => listOf(value, readListener)),
    container: readFinding(way['container'], (value) =>
      value === null ? null : readContainer(fieldsOf(value)),
    ),
    rivals: listOf(way['rivals'], ({ id, name, port }) => ({
      ...{ id: textOf(id), name: textOf(name), port: numberOf(port) },
    })),
    candidates: listOf(way['candidates'], ({ id, name }) => ({ id: textOf(id), name: textOf(name) })),
    dnat: readFinding(way['dnat'], (value) => listOf(value, readDnat)),
    drops: readFinding(way['drops'], (value) => listOf(value, readDrop)),
    link: readFinding(way['link'], (value) => readLink(fieldsOf(value))),
    inside: readFinding(way['inside'], (value) => listOf(value, readListener)),
  };
}

function readFinding<T>(value: unknown, read: (found: unknown) => T): Finding<T> {
  const finding = fieldsOf(value);
  if (finding['found'] !== undefined) return { found: read(finding['found']) };
  return { unseen: textOf(finding['unseen']) };
}

function readMachine(fields: Fields): MachineReport {
  return {
    hostname: textOf(fields['hostname']),
    kernel: textOf(fields['kernel']),
    clock: numberOf(fields['clock']),
    privileged: fields['privileged'] === true,
  };
}

function readListener(fields: Fields): ListenerReport {
  return {
    proto: fields['proto'] === 'udp' ? 'udp' : 'tcp',
    ip: textOf(fields['ip']),
    port: numberOf(fields['port']),
    ...optional('pid', fields, numberOf),
    ...optional('command', fields, textOf),
  };
}

function readContainer(fields: Fields): ContainerReport {
  return {
    id: textOf(fields['id']),
    name: textOf(fields['name']),
    image: textOf(fields['image']),
    state: textOf(fields['state']),
    ...optional('health', fields, textOf),
    ...optional('exitCode', fields, numberOf),
    ...optional('error', fields, textOf),
    restarts: numberOf(fields['restarts']),
    ...optional('upSeconds', fields, numberOf),
    ...optional('pid', fields, numberOf),
    addresses: textsOf(fields['addresses']),
    network: textOf(fields['network']),
    networkDriver: textOf(fields['networkDriver']),
    ...optional('privatePort', fields, numberOf),
    published: listOf(fields['published'], readPublished),
    exposed: textsOf(fields['exposed']),
  };
}

function readPublished(fields: Fields): PublishedReport {
  return {
    ip: textOf(fields['ip']),
    port: numberOf(fields['port']),
    privatePort: numberOf(fields['privatePort']),
    proto: textOf(fields['proto']),
  };
}

function readDnat(fields: Fields): DnatReport {
  const { by, chain, rule, to } = fields;
  return {
    ...{ by: textOf(by), chain: textOf(chain), rule: textOf(rule), to: textOf(to) },
    ...optional('packets', fields, numberOf),
  };
}

function readDrop({ by, chain, rule, packets }: Fields): DropReport {
  return { by: textOf(by), chain: textOf(chain), rule: textOf(rule), packets: numberOf(packets) };
}

function readLink(fields: Fields): LinkReport {
  return {
    ...optional('bridge', fields, textOf),
    ...(fields['up'] !== undefined && { up: fields['up'] === true }),
    ...optional('veth', fields, textOf),
  };
}

// ---- values ----------------------------------------------------------------------------------------------

function fieldsOf(value: unknown): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw new UsageError('the guest has answered with what is no report of a way');
}

function listOf<T>(value: unknown, read: (fields: Fields) => T): T[] {
  return Array.isArray(value) ? value.slice(0, MAX_LISTED).map((entry) => read(fieldsOf(entry))) : [];
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.slice(0, MAX_LISTED).map(textOf) : [];
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? textForPeople(value) : '';
}

function numberOf(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

function optional<Name extends string, T>(
  name: Name,
  fields: Fields,
  read: (value: unknown) => T,
): { [Key in Name]?: T } {
  return fields[name] === undefined ? {} : ({ [name]: read(fields[name]) } as { [Key in Name]?: T });
}
