import type { VpnkitPort } from '../../protocol/services/control.js';
import { isMeant } from '../../protocol/services/vpnkit-port.js';
import { EVERY_ADDRESS } from '../../protocol/wire/address.js';
import { type ForwardRule, hostEndKey } from './forward-rule.js';
import { type Parts, parseParts, parseSpec } from './forward-spec.js';
import { readVpnkitName, ruleToVpnkit } from './vpnkit-rule.js';

/** Which forwards somebody means who names some to be removed. */
export interface ForwardMatcher {
  /** What was named, for messages. */
  readonly text: string;
  /** The hostEndKey of each forward that can be meant. */
  readonly hostEnds: readonly string[];
  matches(rule: ForwardRule): boolean;
}

/**
 * Reads a SPEC that names forwards to be removed: those of its host port, or path. Where it has an address,
 * that must match as isMeant says, and so must the guest's end where it has one.
 * @throws UsageError as parseSpec
 */
export function parseSpecMatcher(text: string): ForwardMatcher {
  const parts = parseParts(text);
  // What is wrong with a SPEC is wrong here, too.
  if (parts.proto === 'unix' ? parts.guestPath !== undefined : parts.guest) parseSpec(text);
  return parts.proto === 'unix' ? pathMatcher(text, parts) : portMatcher(text, parts);
}

/**
 * The forwards that a vpnkit client means when it asks for one to be removed, as isMeant says.
 * @throws UsageError
 */
export function matcherFromVpnkit(body: unknown): ForwardMatcher {
  const named = readVpnkitName(body);
  const end = named.proto === 'unix' ? named.out_path : named.out_port;
  return {
    text: JSON.stringify(named),
    hostEnds: [hostEndKey(named.proto, end ?? 0)],
    matches: (rule) => isMeant(named, ruleToVpnkit(rule)),
  };
}

type PathParts = Extract<Parts, { proto: 'unix' }>;
type PortParts = Exclude<Parts, { proto: 'unix' }>;

function pathMatcher(text: string, { hostPath, guestPath }: PathParts): ForwardMatcher {
  const named: VpnkitPort = { proto: 'unix', out_path: hostPath };
  if (guestPath !== undefined) named.in_path = guestPath;
  return {
    text,
    hostEnds: [hostEndKey('unix', hostPath)],
    matches: (rule) => isMeant(named, ruleToVpnkit(rule)),
  };
}

function portMatcher(text: string, { proto, hostIps, host, guestIp, guest }: PortParts): ForwardMatcher {
  const { first, last } = host;
  return {
    text,
    hostEnds: Array.from({ length: last - first + 1 }, (_, index) => hostEndKey(proto, first + index)),
    matches: (rule) => {
      if (rule.proto === 'unix' || rule.hostPort < first || rule.hostPort > last) return false;
      const other = ruleToVpnkit(rule);
      const named: VpnkitPort = { proto, out_port: rule.hostPort };
      const outIp = hostIps ? addressOf(hostIps) : other.out_ip;
      if (outIp !== undefined) named.out_ip = outIp;
      if (guestIp !== undefined && guest)
        Object.assign(named, { in_ip: guestIp, in_port: guest.first + rule.hostPort - first });
      return isMeant(named, other);
    },
  };
}

/** As ruleToVpnkit writes them: localhost by its IPv4 address, every address by none. */
function addressOf(hostIps: readonly string[]): string | undefined {
  return hostIps.join() === EVERY_ADDRESS.join() ? undefined : hostIps[0];
}
