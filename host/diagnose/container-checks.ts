import { nameContainer } from '../../protocol/services/container-name.js';
import type { ContainerReport } from '../../protocol/services/inspect.js';
import { isLoopback } from '../../protocol/socket/loopback.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import { type Complaint, containerOn, type Evidence, wayOf } from './evidence.js';
import { describeListeners } from './hops.js';
import { otherForwarder } from './other-forwarder.js';

/** What can be wrong with a container, and with what it publishes. */

/** So many restarts are no accident any more, while it has not run for STEADY_SECONDS since. */
const FEW_RESTARTS = 2;
const STEADY_SECONDS = 10;

/** What to do about a container that does not serve, by its state. */
const STATES: ReadonlyMap<string, (name: string) => string> = new Map([
  ['paused', (name) => `docker unpause ${name}`],
  ['restarting', (name) => `docker logs ${name} says why it ends again and again`],
  ['created', (name) => `docker start ${name}`],
  ['exited', (name) => `docker start ${name}; docker logs ${name} says why it ended`],
]);

export function containerDown({ path }: Evidence): Complaint | undefined {
  const container = containerOn(path);
  if (!container) return undefined;
  if (container.state === 'running')
    return container.restarts >= FEW_RESTARTS ? restarting(container) : undefined;
  const { name, state, exitCode, error } = container;
  const rival = wayOf(path)?.rivals[0];
  if (rival)
    return {
      hop: 'container',
      problem: `${nameContainer(container)} does not run: it is ${state}, and ${nameContainer(rival)} publishes port ${rival.port}, which it wants`,
      advice: `docker stop ${rival.name}, or give one of them another port; then docker start ${name}`,
    };
  const code = exitCode === undefined || state === 'created' ? '' : ` with exit code ${exitCode}`;
  const why = error === undefined ? '' : `: ${error}`;
  return {
    hop: 'container',
    problem: `${nameContainer(container)} does not run: it is ${state}${code}${why}`,
    advice: STATES.get(state)?.(name) ?? `docker logs ${name} may say why`,
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
export function notForwarded({ path }: Evidence): Complaint | undefined {
  const container = containerOn(path);
  if (path.forwards.length > 0 || !container || otherForwarder(path)) return undefined;
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

export function nothingAnywhere({ path }: Evidence): Complaint | undefined {
  const { listeners, forwards, asked, guest } = path;
  if (forwards.length > 0 || containerOn(path)) return undefined;
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

export function nothingInside({ path }: Evidence): Complaint | undefined {
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

export function onLoopbackInside({ path }: Evidence): Complaint | undefined {
  const container = containerOn(path);
  const inside = wayOf(path)?.inside;
  if (!container || !inside || !('found' in inside) || container.networkDriver === 'host') return undefined;
  const right = inside.found.filter(({ port }) => port === container.privatePort);
  const [first] = right;
  if (!first || right.some(({ ip }) => !isLoopback(ip))) return undefined;
  return {
    hop: 'server',
    problem: `the server in ${nameContainer(container)} listens on ${formatHostPort(first.ip, first.port)} only, which nobody outside the container reaches`,
    advice: 'have it listen on 0.0.0.0 or [::] inside the container',
  };
}

export function unhealthy({ path }: Evidence): Complaint | undefined {
  const container = containerOn(path);
  if (container?.health !== 'unhealthy') return undefined;
  return {
    hop: 'container',
    problem: `${nameContainer(container)} takes connections, and its own check says that it is unhealthy`,
    advice: `docker inspect ${container.name} shows what the check has said; docker logs ${container.name}`,
  };
}
