import { UsageError } from '../errors.js';
import { MAX_PORT } from '../wire/destination.js';
import type { VpnkitPort } from './control.js';

/** A text of a forward: no path or address is longer. */
const MAX_TEXT_LENGTH = 4096;

const TEXTS = ['out_ip', 'out_path', 'in_ip', 'in_path', 'annotation', 'container', 'container_id'] as const;
const PORTS = ['out_port', 'in_port'] as const;
const NUMBERS = ['proxy_protocol', 'idle_seconds'] as const;

/**
 * Reads a forward that another program has sent: each field is of its type, and what is no field is left out.
 * Whether they make sense together is for the host to say.
 * @throws UsageError that names the field
 */
export function readVpnkitPort(value: unknown): VpnkitPort {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError('it must be one JSON object such as {"proto":"tcp","out_port":8080,"in_port":80}');
  const fields = value as Record<string, unknown>;
  const port: Record<string, unknown> = { proto: readProto(fields['proto']) };
  const keep = (name: string, isRight: (given: unknown) => boolean, form: string): void => {
    const given = fields[name];
    // Go writes null for what is absent.
    if (given === undefined || given === null) return;
    if (!isRight(given)) throw new UsageError(`"${name}" must be ${form}, not ${quote(given)}`);
    port[name] = given;
  };
  for (const name of TEXTS) keep(name, isText, `a text of at most ${MAX_TEXT_LENGTH} characters`);
  for (const name of PORTS) keep(name, isPort, `a port from 0 to ${MAX_PORT}`);
  for (const name of NUMBERS) keep(name, Number.isFinite, 'a number');
  return port as unknown as VpnkitPort;
}

function readProto(proto: unknown): VpnkitPort['proto'] {
  if (proto === 'tcp' || proto === 'udp' || proto === 'unix') return proto;
  throw new UsageError(`"proto" must be "tcp", "udp" or "unix", not ${quote(proto)}`);
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value.length <= MAX_TEXT_LENGTH;
}

function isPort(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= MAX_PORT;
}

/** What was given instead, as far as it tells the reader anything. */
function quote(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 100);
}
