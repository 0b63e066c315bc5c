import { formatDestination, formatHostPort } from '../../protocol/wire/destination.js';
import type { Source } from '../../protocol/wire/extension.js';
import type { ConnectionRecord } from '../records/connection-record.js';
import type { Ending } from '../records/ending.js';
import type { Note } from '../rule/forward-rule.js';
import { type End, makeEnd } from './packet.js';

/** Documentation addresses (RFC 5737), which nobody has: those of the two ends of a unix socket. */
const UNIX_CLIENT = '192.0.2.1';
const UNIX_LISTENER = '192.0.2.2';

/** Ports of the clients of unix sockets: those above the ones that mean something. */
const FIRST_CLIENT_PORT = 1024;
const CLIENT_PORTS = 0x1_0000 - FIRST_CLIENT_PORT;

/** Stands for a unix socket's listener: no program's port, so that nothing is guessed by it. */
const UNIX_PORT = 1;

/** The two ends as the capture shows them. */
export interface Ends {
  client: End;
  server: End;
  /** Whether they are made up, for there are none. */
  synthetic: boolean;
}

export function endsOf(id: number, { client, listener }: Source): Ends {
  if (client && listener) {
    const ends = { client: makeEnd(client), server: makeEnd(listener), synthetic: false };
    if (ends.client.ip.length === ends.server.ip.length) return ends;
  }
  return {
    client: makeEnd({ ip: UNIX_CLIENT, port: FIRST_CLIENT_PORT + (id % CLIENT_PORTS) }),
    server: makeEnd({ ip: UNIX_LISTENER, port: UNIX_PORT }),
    synthetic: true,
  };
}

/** `connection 17: tcp localhost:8080 → tcp 127.0.0.1:80, container web (1a2b3c4d5e6f); client 127.0.0.1:50000` */
export function nameConnection({ id, forward, source: { client } }: ConnectionRecord): string {
  const { destination, proto } = forward.rule;
  const who = client ? `; client ${formatHostPort(client.ip, client.port)}` : '';
  const kind = proto === 'udp' ? 'flow' : 'connection';
  return `${kind} ${id}: ${forward.id} → ${formatDestination(destination)}${forWhom(forward.rule)}${who}`;
}

/** `, container web (1a2b3c4d5e6f)`, or what another publisher says of it. */
export function forWhom({ container, containerId, annotation }: Note): string {
  if (container === undefined) return annotation === undefined ? '' : `, ${annotation}`;
  return `, container ${container}${containerId === undefined ? '' : ` (${containerId})`}`;
}

/** `connection 17 ended: SC ECONNREFUSED: the guest could not reach …` */
export function nameEnding(
  { id, forward }: ConnectionRecord,
  { termination, code, message }: Ending,
): string {
  const kind = forward.rule.proto === 'udp' ? 'flow' : 'connection';
  return `${kind} ${id} ended: ${termination}${code === undefined ? '' : ` ${code}`}: ${message}`;
}
