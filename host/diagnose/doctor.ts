import type { ContainerReport, ListenerReport, WayReport } from '../../protocol/services/inspect.js';
import { EVERY_ADDRESS } from '../../protocol/wire/address.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import type { ForwardReport } from '../records/reports.js';
import { describeListeners, describeProcess, nameContainer } from './hops.js';
import type { PathReport } from './path.js';
import type { ProbeReport } from './probe.js';

/** What is wrong, and what to do about it: a sentence each. `hop` names the station where it is. */
export interface Complaint {
  hop: string;
  problem: string;
  advice: string;
}

/** What a judgement is made of. */
export interface Evidence {
  path: PathReport;
  /** Absent where no connection could be tried. */
  probe?: ProbeReport | undefined;
}

type Check = (evidence: Evidence) => Complaint | undefined;

/** The first that complains is right: each looks only at what those before it have found in order. */
const CHECKS: readonly Check[] = [
  heldByAnother,
  forwardFailed,
  shadowed,
  noChannel,
  silentGuest,
  containerDown,
  notForwarded,
  nothingAnywhere,
  nothingInside,
  onLoopbackInside,
  dropped,
  nothingInGuest,
  noDnat,
  probeFailed,
  unhealthy,
];

/** What is wrong with the way of a port; undefined: nothing that can be seen. */
export function judge(evidence: Evidence): Complaint | undefined {
  for (const check of CHECKS) {
    const complaint = check(evidence);
    if (complaint) return complaint;
  }
  return undefined;
}

// ---- on the host -----------------------------------------------------------------------------------------

function heldByAnother({ path: { listeners, pid, forwards, asked } }: Evidence): Complaint | undefined {
  if (forwards.some(({ state }) => state === 'listening')) return undefined;
  const others = foundIn(listeners).filter((listener) => listener.pid !== pid);
  const [first] = others;
  if (!first) return undefined;
  const [forward] = forwards;
  return {
    hop: 'host',
    problem: `${asked} on the host is not portferry's: ${describeListeners(others)}`,
    advice: forward
      ? `stop ${describeProcess(first)}, and portferry takes the port by itself; or use another port`
      : `stop ${describeProcess(first)} if it is not the one you want to reach, and expose the port with 'portferry expose'`,
  };
}

function forwardFailed({ path: { forwards } }: Evidence): Complaint | undefined {
  const [forward] = forwards;
  if (!forward || forward.state === 'listening') return undefined;
  const refused = forward.state === 'refused';
  return {
    hop: 'forward',
    problem: `${forward.id} is ${refused ? 'refused' : 'not listened on'}: ${forward.error ?? 'nobody knows why'}`,
    advice: refused
      ? "the rules of the host's --allow-expose do not allow it: change them, or expose the port on the host"
      : 'it is tried again until it works; free the port or the address, or use another one',
  };
}

/** Somebody listens on a special address beside our wildcard: the kernel prefers that one. */
function shadowed({ path: { listeners, pid, forwards } }: Evidence): Complaint | undefined {
  const [forward] = forwards;
  const others = foundIn(listeners).filter((listener) => listener.pid !== pid);
  const [other] = others.filter(({ ip }) => !EVERY_ADDRESS.includes(ip));
  if (!forward || !other) return undefined;
  const address = formatHostPort(other.ip, other.port);
  return {
    hop: 'host',
    problem: `${describeProcess(other)} listens on ${address} itself, and gets what is sent there instead of ${forward.id}`,
    advice: `stop ${describeProcess(other)}, or reach the forward by another address of this host`,
  };
}

// ---- between the two -------------------------------------------------------------------------------------

function noChannel({ path: { channel } }: Evidence): Complaint | undefined {
  if (channel.state === 'connected') return undefined;
  const why = channel.lastError === undefined ? '' : `: ${channel.lastError}`;
  return {
    hop: 'channel',
    problem: `there has been no channel to the guest on ${channel.address} since ${channel.since}${why}`,
    advice: 'start portferry-guest in the VM, or see why it does not reach this address',
  };
}

function silentGuest({ path: { guest } }: Evidence): Complaint | undefined {
  if (!('unseen' in guest) || !guest.silent) return undefined;
  return {
    hop: 'guest',
    problem: `the guest is connected and does not answer: ${guest.unseen}`,
    advice: 'it may be stopped or overloaded: look at the VM, and restart portferry-guest there',
  };
}

// ---- in the guest ----------------------------------------------------------------------------------------

/** So many restarts are no accident any more, while it has not run for STEADY_SECONDS since. */
const FEW_RESTARTS = 2;
const STEADY_SECONDS = 10;

/** What to do about a container that does not serve, by its state. */
const STATES: { readonly [state: string]: (name: string) => string } = {
  paused: (name) => `docker unpause ${name}`,
  restarting: (name) => `docker logs ${name} says why it ends again and again`,
  created: (name) => `docker start ${name}`,
  exited: (name) => `docker start ${name}; docker logs ${name} says why it ended`,
};

function containerDown({ path }: Evidence): Complaint | undefined {
  const container = containerOn(path);
  if (!container) return undefined;
  if (container.state === 'running')
    return container.restarts >= FEW_RESTARTS ? restarting(container) : undefined;
  const { name, state, exitCode } = container;
  const code = exitCode === undefined || state === 'created' ? '' : ` with exit code ${exitCode}`;
  return {
    hop: 'container',
    problem: `${nameContainer(container)} does not run: it is ${state}${code}`,
    advice: STATES[state]?.(name) ?? `docker logs ${name} may say why`,
  };
}

/** It runs just now, and has not for long. */
function restarting(container: ContainerReport): Complaint | undefined {
  const { name, restarts, upSeconds = 0 } = container;
  if (upSeconds > STEADY_SECONDS) return undefined;
  return {
    hop: 'container',
    problem: `${nameContainer(container)} ends again and again: it was started anew ${restarts} times, ${Math.round(upSeconds)} s ago the last time`,
    advice: `docker logs ${name} says why it ends`,
  };
}

/** A container publishes the port in the VM, and the host has no forward for it. */
function notForwarded({ path }: Evidence): Complaint | undefined {
  const container = containerOn(path);
  if (path.forwards.length > 0 || !container) return undefined;
  const { published, privatePort, name } = container;
  const ports = published.filter((one) => one.privatePort === privatePort);
  const [port] = ports;
  if (!port)
    return {
      hop: 'container',
      problem: `${nameContainer(container)} runs, and publishes no port`,
      advice: `start it again with -p HOST_PORT:${privatePort ?? 'PORT'}`,
    };
  return {
    hop: 'forward',
    problem: `${nameContainer(container)} publishes ${port.port} in the VM, and nothing on the host forwards it`,
    advice: `let the guest publish it (portferry-guest --docker; a rule or a label may deny it, see the guest's log), or 'portferry expose ${port.port}:${port.port}' for ${name}`,
  };
}

function nothingAnywhere({ path: { listeners, forwards, asked, guest } }: Evidence): Complaint | undefined {
  if (forwards.length > 0) return undefined;
  const [candidate] = 'found' in guest ? guest.found.candidates : [];
  if (candidate)
    return {
      hop: 'container',
      problem: `${asked} is not forwarded: ${nameContainer(candidate)} listens on a port of that number, and does not publish it`,
      advice: 'start the container again with -p',
    };
  const here =
    listeners && 'found' in listeners ? 'nothing listens on it on the host' : 'the host has no such forward';
  const there = 'found' in guest ? ', and nothing in the VM publishes it' : '';
  return {
    hop: 'forward',
    problem: `${asked} is not forwarded: ${here}${there}`,
    advice: "publish it with 'docker run -p', or expose it with 'portferry expose HOST_PORT:GUEST_PORT'",
  };
}

function nothingInside({ path }: Evidence): Complaint | undefined {
  const container = containerOn(path);
  const inside = wayOf(path)?.inside;
  if (!container || !inside || !('found' in inside)) return undefined;
  const { privatePort, name } = container;
  if (inside.found.some(({ port }) => port === privatePort)) return undefined;
  const elsewhere = inside.found.length === 0 ? 'nothing listens in it' : describeListeners(inside.found);
  return {
    hop: 'server',
    problem: `nothing listens on port ${privatePort} in ${nameContainer(container)}: ${elsewhere}`,
    advice:
      inside.found.length === 0
        ? `its server has not started, or not yet: docker logs ${name}`
        : `publish the port on which its server listens, or have it listen on ${privatePort}`,
  };
}

function onLoopbackInside({ path }: Evidence): Complaint | undefined {
  const container = containerOn(path);
  const inside = wayOf(path)?.inside;
  if (!container || !inside || !('found' in inside) || container.networkDriver === 'host') return undefined;
  const right = inside.found.filter(({ port }) => port === container.privatePort);
  if (right.length === 0 || right.some(({ ip }) => !isLoopback(ip))) return undefined;
  return {
    hop: 'server',
    problem: `the server in ${nameContainer(container)} listens on ${formatHostPort(right[0]?.ip ?? '', container.privatePort ?? 0)} only, which nobody outside the container reaches`,
    advice: 'have it listen on 0.0.0.0 or [::] inside the container',
  };
}

function dropped({ path, probe }: Evidence): Complaint | undefined {
  const drops = wayOf(path)?.drops;
  if (!drops || !('found' in drops) || probe?.outcome === 'connected') return undefined;
  const [drop] = drops.found;
  if (!drop) return undefined;
  return {
    hop: 'firewall',
    problem: `a firewall rule in the VM stops packets to it: ${drop.by}, chain ${drop.chain}: ${drop.rule}`,
    advice: 'remove the rule, or let this port pass before it',
  };
}

/** The forward leads to a port of the VM itself. */
function nothingInGuest({ path, probe }: Evidence): Complaint | undefined {
  const [forward] = path.forwards;
  const listeners = wayOf(path)?.listeners;
  if (!forward || containerOn(path) || !listeners || !('found' in listeners)) return undefined;
  const { in_ip: ip = '', in_port: port = 0 } = forward;
  // Any other failure says itself what is wrong.
  const { code = 'ECONNREFUSED' } = probe?.record?.ending ?? {};
  if (
    probe?.outcome === 'connected' ||
    code !== 'ECONNREFUSED' ||
    listeners.found.some((one) => serves(one, ip))
  )
    return undefined;
  const elsewhere = listeners.found.length === 0 ? '' : `: ${describeListeners(listeners.found)}`;
  return {
    hop: 'guest',
    problem: `nothing in the VM listens on ${formatHostPort(ip, port)}, where ${forward.id} leads${elsewhere}`,
    advice:
      elsewhere === ''
        ? 'start the server in the VM, or publish the port of its container'
        : 'name the address on which it listens in the forward, or have it listen there',
  };
}

function noDnat({ path }: Evidence): Complaint | undefined {
  const way = wayOf(path);
  const container = containerOn(path);
  const [forward] = path.forwards;
  if (!way || !container || !forward) return undefined;
  if (container.networkDriver !== 'bridge' || container.addresses.includes(forward.in_ip ?? ''))
    return undefined;
  if (!('found' in way.dnat) || way.dnat.found.length > 0) return undefined;
  // Without docker-proxy it is dockerd itself that holds the port, and answers nobody.
  if ('found' in way.listeners && way.listeners.found.some(({ command }) => command !== 'dockerd'))
    return undefined;
  return {
    hop: 'DNAT',
    problem: `the engine's rule that leads ${forward.destination} to ${nameContainer(container)} is missing`,
    advice: 'something has cleared the rules of iptables in the VM: restart dockerd, which makes them anew',
  };
}

function probeFailed({ probe, path }: Evidence): Complaint | undefined {
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

function unhealthy({ path }: Evidence): Complaint | undefined {
  const container = containerOn(path);
  if (container?.health !== 'unhealthy') return undefined;
  return {
    hop: 'container',
    problem: `${nameContainer(container)} takes connections, and its own check says that it is unhealthy`,
    advice: `docker inspect ${container.name} shows what the check has said; docker logs ${container.name}`,
  };
}

// ---- what they look at -----------------------------------------------------------------------------------

function wayOf({ guest }: PathReport): WayReport | undefined {
  return 'found' in guest ? guest.found : undefined;
}

function containerOn(path: PathReport): ContainerReport | undefined {
  const container = wayOf(path)?.container;
  return container && 'found' in container ? (container.found ?? undefined) : undefined;
}

function foundIn(finding: PathReport['listeners']): ListenerReport[] {
  return finding && 'found' in finding ? finding.found : [];
}

function isLoopback(ip: string): boolean {
  return ip === '::1' || ip.startsWith('127.');
}

/** Whether a listener gets what is sent to an address of its machine. */
function serves({ ip }: ListenerReport, address: string): boolean {
  return ip === address || ip === '::' || (ip === '0.0.0.0' && !address.includes(':'));
}

function hopOf(by: string): string {
  return by === 'policy' ? 'guest' : by;
}

function adviceFor(by: string, code: string | undefined, forward: ForwardReport | undefined): string {
  if (by === 'policy') return `allow it in the guest: portferry-guest --allow-dial '${forward?.destination}'`;
  if (code === 'ECONNREFUSED') return 'nothing listens there: start the server, or look at the port';
  if (code === 'ETIMEDOUT') return 'a firewall in the VM drops the packets, or the address is not there';
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH')
    return 'the VM has no route to it: look at its networks';
  if (by === 'server')
    return "the server takes the connection and breaks it off: look at the server's own log";
  return 'look at the logs of the host and of the guest';
}
