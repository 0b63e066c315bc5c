import { LOCALHOST } from '../../protocol/wire/address.js';
import type { PathReport } from './path.js';

/**
 * What is not wrong with the way of a port, and may all the same be why somebody does not reach it: a sentence
 * each.
 */

/** The clocks of two machines that are further apart (s) than this disturb certificates, tokens and caches. */
const MAX_CLOCK_SKEW_SECONDS = 60;

/** A host that serves this share of the clients that it has descriptors for is nearly full. */
const NEARLY = 0.9;

const MILLISECONDS = 1000;

/** What the host itself knows. */
export interface HostFacts {
  version: string;
  /** Clients being served, and as many as there is room for. */
  clients: number;
  maxClients: number;
}

export function remarksOn(
  { channel, guest }: Pick<PathReport, 'channel' | 'guest'>,
  { version, clients, maxClients }: HostFacts,
  now = Date.now(),
): string[] {
  const remarks: string[] = [];
  const peer = channel.peer?.version;
  if (peer && peer !== version)
    remarks.push(`the guest is portferry-guest ${peer}, and this host ${version}: upgrade the older one`);
  if (clients >= maxClients * NEARLY)
    remarks.push(
      `${clients} clients are served, and there are descriptors for ${maxClients}: raise the limit (ulimit -n)`,
    );
  const skew = 'found' in guest ? (guest.found.machine.clock - now) / MILLISECONDS : 0;
  if (Math.abs(skew) > MAX_CLOCK_SKEW_SECONDS)
    remarks.push(
      `the guest's clock is ${Math.round(Math.abs(skew))} s ${skew > 0 ? 'ahead of' : 'behind'} this host's: certificates and tokens may not be valid there`,
    );
  return remarks;
}

/** Programs such as curl and browsers go there instead, also for localhost, unless they are told not to. */
const PROXIES = ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'];

/**
 * What the user's own surroundings do to a request for localhost.
 * @param localhost the addresses that the name resolves to here
 */
export function remarksOnSurroundings(
  environment: NodeJS.ProcessEnv,
  localhost: readonly string[],
): string[] {
  const remarks: string[] = [];
  const proxy = PROXIES.find((name) => environment[name]);
  const exceptions = environment['no_proxy'] ?? environment['NO_PROXY'] ?? '';
  if (proxy !== undefined && !/\blocalhost\b|\b127\.0\.0\.1\b|\*/.test(exceptions))
    remarks.push(
      `${proxy} is set, and NO_PROXY does not name localhost: curl and others ask the proxy instead of this host`,
    );
  const missing = LOCALHOST.filter((ip) => !localhost.includes(ip));
  if (localhost.length > 0 && missing.includes('127.0.0.1'))
    remarks.push(
      `localhost is ${localhost.join(' and ')} here, and not 127.0.0.1: a forward of 127.0.0.1 alone is not reached by that name`,
    );
  return remarks;
}
