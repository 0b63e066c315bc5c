import { UsageError } from '../errors.js';

/** The most (s) that may be asked for, a day: what is to stay longer than that is no UDP flow. */
export const MAX_IDLE_SECONDS = 86_400;

/**
 * The service `portferry:control`, by which publishers in the guest ask the host for forwards: what the two
 * ends say to each other, as HTTP/1.1 over a stream. SPEC.md 11 describes it.
 *
 * Each stream is one lease: the forwards asked for on it live as long as it does.
 */

/** Where the host listens for it: the destination of a stream. */
export const CONTROL_SERVICE = 'portferry:control';

/** `PUT`: makes the lease's forwards those of a LeaseRequest, and answers with a LeaseReport. */
export const LEASE_RESOURCE = '/v1/lease';

/**
 * `PUT`, with a VpnkitPort: adds one forward to the lease and answers with it, with the port that was chosen;
 * or answers 400 or 403 with a message and keeps nothing.
 */
export const EXPOSE_PORT_RESOURCE = '/forwards/expose/port';
export const EXPOSE_PIPE_RESOURCE = '/forwards/expose/pipe';

/** `DELETE`, with a VpnkitPort: removes a forward from the lease. */
export const UNEXPOSE_PORT_RESOURCE = '/forwards/unexpose/port';
export const UNEXPOSE_PIPE_RESOURCE = '/forwards/unexpose/pipe';

/** `GET`: the forwards of the lease that the host listens for, as VpnkitPorts. */
export const LIST_RESOURCE = '/forwards/list';

/**
 * A forward as the control API of Docker's forwarder writes it (`/forwards/*`); what is empty is left out.
 * `out` is the host's end, `in` the guest's. All that follows `annotation` is portferry's own.
 */
export interface VpnkitPort {
  proto: 'tcp' | 'udp' | 'unix';
  out_ip?: string;
  out_port?: number;
  out_path?: string;
  in_ip?: string;
  in_port?: number;
  in_path?: string;
  annotation?: string;
  /** The name of the container that it is for, and the beginning of its id, where its publisher tells. */
  container?: string;
  container_id?: string;
  /** The version of the PROXY protocol's header that the destination gets first; TCP only. */
  proxy_protocol?: 1 | 2;
  /** How long (s) a UDP flow may be idle. */
  idle_seconds?: number;
}

export interface LeaseRequest {
  /** Who asks, for people: `docker`, say. */
  publisher: string;
  /** All that the lease is to hold. What it holds and is not among them goes. */
  forwards: VpnkitPort[];
}

export interface LeaseReport {
  /** What has become of each, in the order of the request. */
  forwards: LeaseOutcome[];
}

export interface LeaseOutcome {
  /** A forward that failed stays wanted: the host tries again when it may succeed. One refused does not. */
  state: 'listening' | 'failed' | 'refused';
  /** The host's port, where the OS has chosen one. */
  out_port?: number;
  /** Why it is not listening, in words. */
  message?: string;
  /** The errno of that, where there is one. */
  code?: string;
}

/**
 * Holds the protocol of a VpnkitPort, as it was received, against the resource it was sent to.
 * @throws UsageError
 */
export function checkResource(body: unknown, resource: 'port' | 'pipe'): void {
  const proto = (body as { proto?: unknown } | null | undefined)?.proto;
  if (resource === 'pipe' && (proto === 'tcp' || proto === 'udp'))
    throw new UsageError('exposed pipes can only have "proto" "unix"');
  if (resource === 'port' && proto === 'unix')
    throw new UsageError('exposed ports can only have "proto" "tcp" or "udp"');
}

/** Whether a UDP flow may be told to end after so many idle seconds. */
export function isIdleSeconds(seconds: number): boolean {
  return seconds >= 1 && seconds <= MAX_IDLE_SECONDS;
}
