import { dirname, normalize } from 'node:path';
import { type EndpointRule, parseEndpointRule } from '../../protocol/endpoint-rule.js';
import { UsageError } from '../../protocol/errors.js';
import { withoutZone } from '../../protocol/wire/address.js';
import { type Destination, formatDestination } from '../../protocol/wire/destination.js';
import type { ForwardRule } from '../rule/forward-rule.js';

/** The guest has asked for what the host's rules do not allow: HTTP 403. */
export class PolicyError extends Error {
  override name = 'PolicyError';
  readonly code = 'EACCES';
}

export interface ExposePolicyOptions {
  /** What guests may expose; empty: nothing. Absent: tcp and udp anywhere, sockets in `socketsFolder`. */
  rules: readonly EndpointRule[] | undefined;
  /** Where sockets may be without a rule: an absolute path. */
  socketsFolder: string;
}

/** What publishers in the guest may expose on the host. */
export class ExposePolicy {
  readonly #options: ExposePolicyOptions;

  constructor(options: ExposePolicyOptions) {
    this.#options = options;
  }

  /** Why not all of `rule` is allowed, with the endpoint of the host and the rules; undefined when it is. */
  refusalOf(rule: ForwardRule): PolicyError | undefined {
    const refused = hostEndpoints(rule).find((endpoint) => !this.#allows(endpoint));
    if (!refused) return undefined;
    return new PolicyError(
      `the host's policy does not allow ${formatDestination(refused)}: ${this.#describeRules()}`,
    );
  }

  #allows(endpoint: Destination): boolean {
    const { rules, socketsFolder } = this.#options;
    if (rules) return rules.some((rule) => rule.allows(endpoint));
    return endpoint.proto !== 'unix' || isDirectlyIn(socketsFolder, endpoint.path);
  }

  #describeRules(): string {
    const { rules, socketsFolder } = this.#options;
    if (!rules) return `without --allow-expose, sockets can only be directly in ${socketsFolder}`;
    if (rules.length === 0) return '--allow-expose is none';
    return `--allow-expose has only ${rules.map(({ text }) => text).join(', ')}`;
  }
}

/**
 * Reads the rules of --allow-expose.
 * @returns undefined where there are none, so that the default holds, and no rules where the only one is `none`
 * @throws UsageError
 */
export function parseAllowExpose(texts: readonly string[]): EndpointRule[] | undefined {
  if (texts.length === 0) return undefined;
  if (!texts.includes('none')) return texts.map((text) => parseEndpointRule(text, '--allow-expose'));
  if (texts.length > 1)
    throw new UsageError("--allow-expose none allows nothing, and can't have other rules beside it");
  return [];
}

function hostEndpoints(rule: ForwardRule): Destination[] {
  if (rule.proto === 'unix') return [{ proto: 'unix', path: rule.hostPath }];
  const { proto, hostIps, hostPort: port } = rule;
  // The zone of a link-local address says which interface it is on: a rule is about the address.
  return hostIps.map((ip) => ({ proto, ip: withoutZone(ip), port }));
}

/** `..`, `.` and doubled slashes are never a socket of ours. */
function isDirectlyIn(folder: string, path: string): boolean {
  return normalize(path) === path && dirname(path) === folder && !path.endsWith('/');
}
