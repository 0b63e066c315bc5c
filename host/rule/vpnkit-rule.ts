import { UsageError } from '../../protocol/errors.js';
import { isIdleSeconds, MAX_IDLE_SECONDS, type VpnkitPort } from '../../protocol/services/control.js';
import { canonicalIp, EVERY_ADDRESS, lacksZone } from '../../protocol/wire/address.js';
import { type Destination, MAX_PORT } from '../../protocol/wire/destination.js';
import { type ForwardRule, type Note, type PortRule, setNote } from './forward-rule.js';
import { problemOfPath } from './forward-spec.js';

const DEFAULT_GUEST_IP = '127.0.0.1';

/**
 * The rule that a vpnkit client asks for. Without out_ip it is every address of the host, without in_ip
 * 127.0.0.1 in the guest, and out_port 0 or none is a free port.
 * @throws UsageError
 */
export function ruleFromVpnkit(body: unknown): ForwardRule {
  const port = readObject(body);
  const note = readNote(port);
  const rule = readRule(port, true);
  setNote(rule, note);
  return rule;
}

/**
 * What a vpnkit client names when it asks for a forward to be removed: the guest's end may be left out.
 * @throws UsageError
 */
export function readVpnkitName(body: unknown): VpnkitPort {
  const port = readObject(body);
  readRule(port, false);
  return port as unknown as VpnkitPort;
}

/** The rule in vpnkit's form. Localhost is listed by its IPv4 address, every address by none. */
export function ruleToVpnkit(rule: ForwardRule): VpnkitPort {
  const port: VpnkitPort = { proto: rule.proto };
  if (rule.proto === 'unix') port.out_path = rule.hostPath;
  else {
    const [first] = rule.hostIps;
    if (first !== undefined && rule.hostIps.join() !== EVERY_ADDRESS.join()) port.out_ip = first;
    port.out_port = rule.hostPort;
  }
  const { destination } = rule;
  if (destination.proto === 'unix') port.in_path = destination.path;
  else Object.assign(port, { in_ip: destination.ip, in_port: destination.port });
  if (rule.annotation) port.annotation = rule.annotation;
  if (rule.container) port.container = rule.container;
  if (rule.containerId) port.container_id = rule.containerId;
  if (rule.proto === 'tcp' && rule.proxyProtocol) port.proxy_protocol = rule.proxyProtocol;
  if (rule.proto === 'udp' && rule.idleSeconds) port.idle_seconds = rule.idleSeconds;
  return port;
}

type Fields = Record<string, unknown>;

function readObject(body: unknown): Fields {
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Fields;
  throw new UsageError(
    'the body must be one JSON object such as {"proto":"tcp","out_port":8080,"in_port":80}',
  );
}

function readNote(port: Fields): Note {
  const annotation = readText(port, 'annotation');
  const container = readText(port, 'container');
  const containerId = readText(port, 'container_id');
  return {
    ...(annotation !== undefined && { annotation }),
    ...(container !== undefined && { container }),
    ...(containerId !== undefined && { containerId }),
  };
}

function readRule(port: Fields, complete: boolean): ForwardRule {
  switch (port['proto']) {
    case 'tcp':
    case 'udp':
      return readPortRule(port['proto'], port, complete);
    case 'unix':
      return {
        proto: 'unix',
        hostPath: readPath(port, 'out_path', true),
        destination: { proto: 'unix', path: readPath(port, 'in_path', complete) },
      };
    default:
      throw new UsageError(`"proto" must be "tcp", "udp" or "unix", not ${JSON.stringify(port['proto'])}`);
  }
}

function readPortRule(proto: PortRule['proto'], port: Fields, complete: boolean): PortRule {
  const outIp = readIp(port, 'out_ip');
  const rule: PortRule = {
    proto,
    hostIps: outIp === undefined ? [...EVERY_ADDRESS] : [outIp],
    hostPort: readPort(port, 'out_port'),
    destination: readPortDestination(proto, port, complete),
  };
  const proxyProtocol = readProxyProtocol(proto, port);
  if (proxyProtocol !== undefined) rule.proxyProtocol = proxyProtocol;
  const idleSeconds = readIdleSeconds(proto, port);
  if (idleSeconds !== undefined) rule.idleSeconds = idleSeconds;
  return rule;
}

function readProxyProtocol(proto: PortRule['proto'], port: Fields): 1 | 2 | undefined {
  const value = port['proxy_protocol'] ?? 0;
  if (value === 0) return undefined;
  if (proto !== 'tcp') throw new UsageError('"proxy_protocol" is for "proto" "tcp" only');
  if (value === 1 || value === 2) return value;
  throw new UsageError(`"proxy_protocol" must be 1 or 2, not ${JSON.stringify(value)}`);
}

function readIdleSeconds(proto: PortRule['proto'], port: Fields): number | undefined {
  const value = port['idle_seconds'] ?? 0;
  if (value === 0) return undefined;
  if (proto !== 'udp') throw new UsageError('"idle_seconds" is for "proto" "udp" only');
  if (typeof value === 'number' && isIdleSeconds(value)) return value;
  throw new UsageError(
    `"idle_seconds" must be a number from 1 to ${MAX_IDLE_SECONDS}, not ${JSON.stringify(value)}`,
  );
}

function readPortDestination(proto: PortRule['proto'], port: Fields, complete: boolean): Destination {
  const inPort = readPort(port, 'in_port');
  if (complete && inPort === 0) throw new UsageError('"in_port", the port in the guest, is missing or 0');
  return { proto, ip: readIp(port, 'in_ip') ?? DEFAULT_GUEST_IP, port: inPort };
}

function readIp(port: Fields, field: string): string | undefined {
  const text = readText(port, field);
  if (text === undefined) return undefined;
  const ip = canonicalIp(text);
  if (ip === undefined || (field === 'in_ip' && ip.includes('%')))
    throw new UsageError(`"${field}" must be a literal IP address, not ${JSON.stringify(text)}`);
  if (lacksZone(ip)) throw new UsageError(`"${field}": ${ip} is an address of one link: choose another one`);
  return ip;
}

function readPort(port: Fields, field: string): number {
  const value = port[field] ?? 0;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_PORT) return value;
  throw new UsageError(`"${field}" must be a port from 0 to ${MAX_PORT}, not ${JSON.stringify(value)}`);
}

function readPath(port: Fields, field: string, required: boolean): string {
  const path = readText(port, field);
  if (path === undefined && !required) return '';
  const problem = path === undefined ? 'a path is missing' : problemOfPath(path);
  if (problem === undefined && path !== undefined) return path;
  throw new UsageError(`"${field}": ${problem}`);
}

/** Empty is the same as absent, as in Go. */
function readText(port: Fields, field: string): string | undefined {
  const value = port[field] ?? '';
  if (typeof value === 'string') return value === '' ? undefined : value;
  throw new UsageError(`"${field}" must be a string, not ${JSON.stringify(value)}`);
}
