import { nameContainer } from '../../protocol/services/container-name.js';
import type { DropReport } from '../../protocol/services/inspect.js';
import type { ForwardReport } from '../records/reports.js';
import { type Complaint, containerOn, type Evidence, serves, wayOf } from './evidence.js';
import { describeListeners } from './hops.js';
import type { PathReport } from './path.js';

/** What can be wrong in the guest's own network, and with a connection that was tried. */

/** What a rule has stopped before a connection was tried, and no more since, may have been anybody's. */
export function dropped({ path, probe, before }: Evidence): Complaint | undefined {
  if (probe?.outcome === 'connected') return undefined;
  const earlier = before ? dropsOf(before) : [];
  const drop = dropsOf(path).find(
    ({ by, chain, rule, packets }) =>
      !earlier.some(
        (one) => one.by === by && one.chain === chain && one.rule === rule && one.packets === packets,
      ),
  );
  if (!drop) return undefined;
  return {
    hop: 'firewall',
    problem: `a firewall rule in the VM stops packets to it: ${drop.by}, chain ${drop.chain}: ${drop.rule}`,
    advice: 'remove the rule, or let this port pass before it',
  };
}

function dropsOf(path: PathReport): readonly DropReport[] {
  const drops = wayOf(path)?.drops;
  return drops && 'found' in drops ? drops.found : [];
}

/** The forward leads to a port of the VM itself. */
export function nothingInGuest({ path, probe }: Evidence): Complaint | undefined {
  const [forward] = path.forwards;
  const listeners = wayOf(path)?.listeners;
  if (forward?.in_ip === undefined || containerOn(path) || !listeners || !('found' in listeners))
    return undefined;
  const { in_ip: ip } = forward;
  // Any other failure says itself what is wrong.
  const { code = 'ECONNREFUSED' } = probe?.record?.ending ?? {};
  if (
    probe?.outcome === 'connected' ||
    probe?.outcome === 'slow' ||
    code !== 'ECONNREFUSED' ||
    listeners.found.some((one) => serves(one, ip))
  )
    return undefined;
  const elsewhere = listeners.found.length === 0 ? '' : `: ${describeListeners(listeners.found)}`;
  return {
    hop: 'guest',
    problem: `nothing in the VM listens on ${forward.destination.replace(/^\w+ /, '')}, where ${forward.id} leads${elsewhere}`,
    advice:
      elsewhere === ''
        ? 'start the server in the VM, or publish the port of its container'
        : 'name the address on which it listens in the forward, or have it listen there',
  };
}

export function noDnat({ path }: Evidence): Complaint | undefined {
  const way = wayOf(path);
  const container = containerOn(path);
  const [forward] = path.forwards;
  if (!way || !container || forward?.in_ip === undefined) return undefined;
  if (container.networkDriver !== 'bridge' || container.addresses.includes(forward.in_ip)) return undefined;
  if (!('found' in way.dnat) || way.dnat.found.length > 0) return undefined;
  // Without docker-proxy it is dockerd itself that holds the port, and answers nobody.
  if ('found' in way.listeners && way.listeners.found.some(({ command }) => command !== 'dockerd'))
    return undefined;
  return {
    hop: 'DNAT',
    problem: `the engine's rule that leads ${forward.destination} to ${nameContainer(container)} is missing`,
    advice:
      'something has cleared the rules of the packet filter in the VM: restart dockerd, which makes them anew',
  };
}

export function probeFailed({ probe, path }: Evidence): Complaint | undefined {
  if (!probe || probe.outcome === 'connected' || probe.outcome === 'unknown') return undefined;
  const [forward] = path.forwards;
  const ending = probe.record?.ending;
  if (probe.outcome === 'slow')
    return {
      hop: 'server',
      problem: `the guest has been dialling ${forward?.destination} for seconds without an answer`,
      advice: 'a firewall in the VM drops the packets, or the address is not there',
    };
  return {
    hop: ending ? hopOf(ending.by) : 'host',
    problem: ending
      ? `a connection that was tried has failed: ${ending.message} (${ending.termination})`
      : `${probe.address} cannot be connected to: ${probe.error}`,
    advice: ending ? adviceFor(ending.by, ending.code, forward) : 'look at the log of the host',
  };
}

function hopOf(by: string): string {
  return by === 'policy' ? 'guest' : by;
}

function adviceFor(by: string, code: string | undefined, forward: ForwardReport | undefined): string {
  if (by === 'policy') return `allow it in the guest: portferry-guest --allow-dial '${forward?.destination}'`;
  if (code === 'ECONNREFUSED') return 'nothing listens there: start the server, or look at the port';
  if (code === 'ETIMEDOUT') return 'a firewall in the VM drops the packets, or the address is not there';
  if (code === 'EMFILE' || code === 'ENFILE')
    return 'raise the limit of open files of the guest (ulimit -n), and restart it';
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH')
    return 'the VM has no route to it: look at its networks';
  if (by === 'server')
    return "the server takes the connection and breaks it off: look at the server's own log";
  return 'look at the logs of the host and of the guest';
}
