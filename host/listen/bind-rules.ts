import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { EVERY_ADDRESS } from '../../protocol/wire/address.js';

/** What a platform does with ports in its own way. */
export interface BindRules {
  /** Below this port its user may listen on every address only; 0 where there is no such rule. */
  readonly wildcardOnlyBelow: number;
  /**
   * Whether a TCP port can be bound on one address though another program has it on every address, and the other
   * way round: BSD allows that with SO_REUSEADDR, which libuv sets. Clients go to the narrower one then.
   */
  readonly sharesPorts: boolean;
}

/** macOS: netinet/in.h, IPPORT_RESERVED. */
export const FIRST_FREE_PORT = 1024;

/** How a platform goes about ports. macOS lets everybody have a low port since 10.14, but on a wildcard only. */
export function bindRulesOf(platform: NodeJS.Platform, uid: number | undefined): BindRules {
  if (platform !== 'darwin') return { wildcardOnlyBelow: 0, sharesPorts: false };
  return { wildcardOnlyBelow: uid === 0 ? 0 : FIRST_FREE_PORT, sharesPorts: true };
}

/** Those of this machine and user. */
export const BIND_RULES = bindRulesOf(process.platform, process.getuid?.());

/** Whether an address can only be had by listening on every address of its family. */
export function needsWildcard(ip: string, port: number, { wildcardOnlyBelow }: BindRules): boolean {
  return port > 0 && port < wildcardOnlyBelow && !EVERY_ADDRESS.includes(ip);
}

/** Every address of the family of `ip`. */
export function wildcardOf(ip: string): string {
  return isIPv6(ip) ? '::' : '0.0.0.0';
}

/** Whether this machine has an address: the bind of a wildcard does not tell. */
export function isOwnAddress(ip: string, interfaces = networkInterfaces()): boolean {
  const bare = withoutZone(ip);
  return Object.values(interfaces).some((addresses) => addresses?.some(({ address }) => address === bare));
}

/** The addresses by which clients of a wildcard socket are let in. */
export class LocalAddresses {
  readonly #allowed: Set<string>;

  constructor(...ips: string[]) {
    this.#allowed = new Set(ips);
  }

  add(ip: string): void {
    this.#allowed.add(ip);
  }

  /**
   * @param ip the client's end on this machine; a link-local one may have a zone, which not every rule names; of a
   *   client that has gone already the OS may not tell it
   */
  allows(ip: string | undefined): boolean {
    return ip !== undefined && (this.#allowed.has(ip) || this.#allowed.has(withoutZone(ip)));
  }
}

function withoutZone(ip: string): string {
  return ip.split('%', 1).join();
}
