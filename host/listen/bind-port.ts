import { errnoOf } from '../../protocol/errors.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import type { PortRule } from '../rule/forward-rule.js';
import { isNoSuchAddress } from './bind-failure.js';

/** Free ports of the first address that are tried before one must be free on the other addresses too. */
const PORT_ATTEMPTS = 20;

/** Binding one of a rule's addresses failed. */
export class BindError extends Error {
  override name = 'BindError';
  readonly ip: string;
  readonly port: number;

  constructor(ip: string, port: number, cause: unknown) {
    super(`cannot listen on ${formatHostPort(ip, port)}`, { cause });
    this.ip = ip;
    this.port = port;
  }
}

/** Whatever has a socket for each address of a rule. */
export interface PortBinder {
  /** Binds one more address. @returns the port, which the OS has chosen where 0 was asked for */
  bind(ip: string, port: number): Promise<number>;
  /** Gives up what was bound. Resolves when it is free. */
  close(): Promise<void>;
}

/**
 * Binds all addresses of a rule, or none. An IPv6 address that the machine does not have is left out, if it
 * stands beside an IPv4 one. Port 0 is one that is free on all of them.
 * @param onMissing is told the address that was left out
 * @returns the rule with its port
 * @throws BindError
 */
export async function bindPort(
  rule: PortRule,
  binder: PortBinder,
  onMissing: (ip: string) => void,
): Promise<PortRule> {
  const attempts = rule.hostPort === 0 ? PORT_ATTEMPTS : 1;
  for (let attempt = 1; attempt < attempts; attempt++) {
    try {
      return await bindAll(rule, binder, onMissing);
    } catch (thrown) {
      const lostRace = thrown instanceof BindError && errnoOf(thrown.cause) === 'EADDRINUSE';
      if (!lostRace) throw thrown;
    }
  }
  return bindAll(rule, binder, onMissing);
}

async function bindAll(
  rule: PortRule,
  binder: PortBinder,
  onMissing: (ip: string) => void,
): Promise<PortRule> {
  let port = rule.hostPort;
  let bound = false;
  for (const ip of rule.hostIps) {
    try {
      port = await binder.bind(ip, port);
      bound = true;
    } catch (thrown) {
      const optional = ip.includes(':') && bound;
      if (optional && isNoSuchAddress(thrown)) onMissing(ip);
      else {
        await binder.close();
        throw new BindError(ip, port, thrown);
      }
    }
  }
  return { ...rule, hostPort: port };
}
