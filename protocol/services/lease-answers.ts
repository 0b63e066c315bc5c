import { UsageError } from '../errors.js';
import { MAX_PORT } from '../wire/destination.js';
import type { LeaseOutcome, VpnkitPort } from './control.js';
import { textForPeople } from './text.js';
import { readVpnkitPort } from './vpnkit-port-fields.js';

/**
 * What the host answers on a lease, checked before it is used: a host can be another version, or another
 * program, or have been taken over. All of these throw UsageError when an answer is not what it should be.
 */

const OK = 200;
const FIRST_ERROR_STATUS = 400;
const LAST_ERROR_STATUS = 599;

/** An errno, or a code of fastify's. */
const CODE = /^[A-Z][A-Z0-9_]{0,63}$/;

/** @returns why the host does not do what it was asked for; undefined when it does */
export function readRefusal(status: number, body: unknown): string | undefined {
  if (status === OK) return undefined;
  if (!(status >= FIRST_ERROR_STATUS && status <= LAST_ERROR_STATUS))
    throw new UsageError(`it answers with status ${status}, which is no answer`);
  return readMessage(body) ?? `the host has answered with ${status}`;
}

/**
 * Reads a LeaseReport.
 * @param asked how many forwards it is about; what the host tells less counts as failed
 */
export function readLeaseReport(body: unknown, asked: number): LeaseOutcome[] {
  const { forwards } = fieldsOf(body);
  if (!Array.isArray(forwards)) throw new UsageError('its report has no forwards');
  return Array.from({ length: asked }, (_, index) => readOutcome(forwards[index]));
}

/** Reads the forward that was asked for: all that the host can add is the port that was chosen. */
export function readExposed(body: unknown, asked: VpnkitPort): VpnkitPort {
  if (asked.proto === 'unix' || asked.out_port) return asked;
  const { out_port: port = 0 } = readVpnkitPort(body);
  if (port === 0) throw new UsageError('it does not say which port it has chosen');
  return { ...asked, out_port: port };
}

/** Reads a list of forwards. */
export function readForwards(body: unknown): VpnkitPort[] {
  if (!Array.isArray(body)) throw new UsageError('its list is none');
  return body.map(readVpnkitPort);
}

function readOutcome(outcome: unknown): LeaseOutcome {
  if (outcome === undefined)
    return { state: 'failed', message: 'the host has not said what has become of it' };
  const { state, out_port: port, code } = fieldsOf(outcome);
  if (state !== 'listening' && state !== 'failed' && state !== 'refused')
    throw new UsageError('its report has a state that is none');
  const message = readMessage(outcome);
  return {
    state,
    ...(Number.isInteger(port) && Number(port) > 0 && Number(port) <= MAX_PORT && { out_port: Number(port) }),
    ...(message !== undefined && { message }),
    ...(typeof code === 'string' && CODE.test(code) && { code }),
  };
}

function readMessage(body: unknown): string | undefined {
  const message = (body as { message?: unknown } | null | undefined)?.message;
  return typeof message === 'string' ? textForPeople(message) : undefined;
}

function fieldsOf(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw new UsageError('there is no object where one should be');
}
