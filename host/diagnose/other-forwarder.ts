import type { ListenerReport } from '../../protocol/services/inspect.js';
import { containerOn, foundIn } from './evidence.js';
import type { PathReport } from './path.js';

/**
 * What programs are called that bring a VM's ports to its host, portferry aside: Docker Desktop's and vpnkit's, those
 * of Lima and Colima (which use ssh), podman, Rancher Desktop, OrbStack and rootless engines, and docker-proxy where
 * the engine is on this machine. lsof cuts names.
 */
const FORWARDERS =
  /^(com\.docke|vpnkit|docker-proxy|rootless|gvproxy|limactl|ssh$|colima|host-switch|OrbStack)/i;

/**
 * Who forwards the port in portferry's place: it is a forwarder of VMs by its name, and a container publishes the
 * port in the VM. The rest of the way is the same then. Undefined where portferry listens itself, and where somebody
 * else only is in the way.
 */
export function otherForwarder(path: PathReport): ListenerReport | undefined {
  if (path.forwards.some(({ state }) => state === 'listening')) return undefined;
  const listeners = foundIn(path.listeners);
  const [first] = listeners;
  if (!first || !listeners.every(({ command }) => FORWARDERS.test(command ?? ''))) return undefined;
  const published = containerOn(path)?.published ?? [];
  return published.some(({ port, proto }) => port === first.port && proto === first.proto)
    ? first
    : undefined;
}
