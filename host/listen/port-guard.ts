import type { ForwardRule, PortRule } from '../rule/forward-rule.js';
import { findPortOwners, type WantedAddress } from './port-owner.js';

/**
 * After a search those who can wait let so many times as long pass as it took: a guest that asks without end for
 * forwards costs the host a tenth of a processor at most.
 */
const PAUSE_FACTOR = 9;

/** How long (ms) those wait at most: a guest's request must be answered in 5 s. */
const PATIENCE_MS = 2_000;

/** An address that somebody wants, and the program that has it, in words. */
export interface HeldPort {
  readonly address: WantedAddress;
  readonly owner: string;
}

/** What one look at all processes has shown. */
export interface Look {
  /** Who is in the way of a rule, if somebody is. A rule that was not looked for is in nobody's way. */
  heldBy(rule: ForwardRule): HeldPort | undefined;
}

/** Nobody is in the way. */
export const NOBODY: Look = { heldBy: () => undefined };

/**
 * Looks for other programs on TCP ports, on systems that let two programs have one port (BindRules.sharesPorts):
 * binding would succeed there, and take the clients of a program that listens on every address.
 */
export class PortGuard {
  readonly #find: typeof findPortOwners;
  readonly #patienceMs: number;
  /** When (performance.now()) the next look is due for those who can wait. */
  #rested = 0;

  /** Both parameters are for tests. */
  constructor(find: typeof findPortOwners = findPortOwners, patienceMs = PATIENCE_MS) {
    this.#find = find;
    this.#patienceMs = patienceMs;
  }

  /**
   * Looks once for all rules. Where the system does not tell, nobody is in the way.
   * @param urgent whether it must be now
   */
  async look(rules: readonly ForwardRule[], urgent: boolean): Promise<Look> {
    const wanted = rules.filter(isGuarded);
    if (wanted.length === 0) return NOBODY;
    if (!urgent) await this.#rest();
    const addresses = wanted.flatMap(addressesOf);
    const startedAt = performance.now();
    const owners = await this.#find(addresses, { except: process.pid });
    this.#rested = performance.now() + PAUSE_FACTOR * (performance.now() - startedAt);
    const held = new Map<string, HeldPort>();
    for (const [index, address] of addresses.entries()) {
      const owner = owners[index];
      if (owner !== undefined) held.set(keyOf(address), { address, owner });
    }
    return { heldBy: (rule) => findHeld(held, rule) };
  }

  #rest(): Promise<void> {
    const ms = Math.min(this.#patienceMs, Math.max(0, this.#rested - performance.now()));
    return new Promise((resolve) => void setTimeout(resolve, ms));
  }
}

function findHeld(held: ReadonlyMap<string, HeldPort>, rule: ForwardRule): HeldPort | undefined {
  if (!isGuarded(rule)) return undefined;
  for (const address of addressesOf(rule)) {
    const found = held.get(keyOf(address));
    if (found) return found;
  }
  return undefined;
}

/** A UDP port is nobody's twice: libuv shares none unless it is asked to. A port yet to be chosen is nobody's. */
function isGuarded(rule: ForwardRule): rule is PortRule {
  return rule.proto === 'tcp' && rule.hostPort !== 0;
}

function addressesOf({ hostIps, hostPort: port }: PortRule): WantedAddress[] {
  return hostIps.map((ip) => ({ proto: 'tcp', ip, port }));
}

function keyOf({ ip, port }: WantedAddress): string {
  return `${ip} ${port}`;
}
