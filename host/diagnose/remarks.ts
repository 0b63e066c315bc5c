import type { ChannelReport, StateFileReport } from '../records/reports.js';
import type { HostFacts } from './evidence.js';
import { describeProcess } from './hops.js';
import { otherForwarder } from './other-forwarder.js';
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

export function remarksOn(path: PathReport, facts: HostFacts, now = Date.now()): string[] {
  const { channel, guest } = path;
  const remarks: string[] = [];
  const forwarder = otherForwarder(path);
  if (forwarder)
    remarks.push(
      `${describeProcess(forwarder)} forwards this port, and not portferry; what lies behind is what the guest sees`,
    );
  remarks.push(...remarksOnHost(channel, facts));
  const skew = 'found' in guest ? (guest.found.machine.clock - now) / MILLISECONDS : 0;
  if (Math.abs(skew) > MAX_CLOCK_SKEW_SECONDS)
    remarks.push(
      `the guest's clock is ${Math.round(Math.abs(skew))} s ${skew > 0 ? 'ahead of' : 'behind'} this host's: certificates and tokens may not be valid there`,
    );
  return remarks;
}

/** The same of the host, whatever port it is about. */
export function remarksOnHost(
  channel: ChannelReport,
  { version, clients, maxClients, stateFile }: HostFacts,
): string[] {
  const remarks: string[] = [];
  const peer = channel.peer?.version;
  if (peer && peer !== version)
    remarks.push(`the guest is portferry-guest ${peer}, and this host ${version}: upgrade the older one`);
  if (clients >= maxClients * NEARLY)
    remarks.push(
      `${clients} clients are served, and there are descriptors for ${maxClients}: raise the limit (ulimit -n)`,
    );
  return [...remarks, ...remarksOnState(stateFile)];
}

function remarksOnState({ path, problem, aside }: Partial<StateFileReport> = {}): string[] {
  return [
    ...(problem === undefined ? [] : [`what is exposed now will not outlast a restart: ${problem}`]),
    ...(aside
      ? [
          `when this host started, it could not read all of the state file ${path} (${aside.reason}): that is kept as ${aside.path}, and forwards which are missing must be exposed again`,
        ]
      : []),
  ];
}

/** Programs such as curl and browsers go there instead, also for localhost, unless they are told not to. */
const PROXIES = ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'];

/** How people write this host. */
const NAMES = ['localhost', '127.0.0.1'];

/** What a proxy in the user's own surroundings does to a request for this host. */
export function remarksOnProxy(environment: NodeJS.ProcessEnv): string[] {
  const proxy = PROXIES.find((name) => environment[name]);
  const exceptions = (environment['no_proxy'] ?? environment['NO_PROXY'] ?? '').split(/[\s,]+/);
  const asked = NAMES.filter((name) => !exceptions.includes(name));
  if (proxy === undefined || asked.length === 0 || exceptions.includes('*')) return [];
  // Its value may hold a password.
  return [
    `${proxy} is set here, and NO_PROXY does not name ${asked.join(' and ')}: curl and others ask the proxy for that instead of this host (curl --noproxy '*' does not)`,
  ];
}
