import { UsageError } from '../../protocol/errors.js';
import type { LeaseOutcome } from '../../protocol/services/control.js';
import type { ForwardRule } from '../rule/forward-rule.js';
import { ruleFromVpnkit } from '../rule/vpnkit-rule.js';
import { Claim } from './claim.js';

/** Forwards that all leases of a channel may want: a quarter of all ports, each of them on both families. */
export const MAX_LEASED_FORWARDS = 16_384;

/** What one forward of a lease may take as JSON: two socket paths and an annotation are far below it. */
const MAX_LEASED_FORWARD_BYTES = 1024;

/** Names of publishers stand in listings on a terminal: what a guest sends must do nothing there. */
const PUBLISHER = /^[\w.:@/ -]{1,64}$/;

/**
 * The body of a request that names all forwards of a lease, as it was received.
 * @throws UsageError when it is none
 */
export function readLeaseRequest(body: unknown): { publisher: string; forwards: unknown[] } {
  const { publisher, forwards } = (body ?? {}) as { publisher?: unknown; forwards?: unknown };
  if (!Array.isArray(forwards))
    throw new UsageError('the body must be a JSON object with "publisher" and "forwards"');
  if (forwards.length > MAX_LEASED_FORWARDS)
    throw new UsageError(`${forwards.length} forwards, at most ${MAX_LEASED_FORWARDS} are taken`);
  if (typeof publisher !== 'string' || !PUBLISHER.test(publisher))
    throw new UsageError(
      '"publisher" must be a name of 1 to 64 letters, digits, spaces or any of . : @ / _ -',
    );
  return { publisher, forwards };
}

/**
 * One forward as it was received. Its size is looked at first: what is refused is quoted in messages, and what
 * is taken is kept.
 * @throws UsageError
 */
export function readLeasedForward(body: unknown): ForwardRule {
  const length = Buffer.byteLength(JSON.stringify(body) ?? '');
  if (length > MAX_LEASED_FORWARD_BYTES)
    throw new UsageError(`a forward of ${length} bytes, at most ${MAX_LEASED_FORWARD_BYTES} are taken`);
  const rule = ruleFromVpnkit(body);
  const controls = Object.values(body as object).some((value) => /\p{Cc}/u.test(String(value)));
  if (controls) throw new UsageError('a forward cannot have control characters in it');
  return rule;
}

/** What the guest is told of a forward. */
export function describeOutcome(outcome: Claim | LeaseOutcome): LeaseOutcome {
  if (!(outcome instanceof Claim)) return outcome;
  const { state, asked, forward } = outcome;
  if (forward) {
    const chosen = asked.proto !== 'unix' && asked.hostPort === 0 && forward.rule.proto !== 'unix';
    return chosen ? { state, out_port: forward.rule.hostPort } : { state };
  }
  const { message, code } = outcome.reason;
  return code === undefined ? { state, message } : { state, message, code };
}
