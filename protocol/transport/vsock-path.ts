import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { ChannelAddress } from './channel-address.js';

/** The vsock address (CID) of a hyperkit VM; hyperkit knows no other guest. */
const HYPERKIT_GUEST_CID = 3;
/** The vsock address (CID) of the host. */
const HOST_CID = 2;

type HyperkitAddress = Extract<ChannelAddress, { kind: 'hyperkit' }>;
type FirecrackerAddress = Extract<ChannelAddress, { kind: 'firecracker' }>;

/** The socket by which a hyperkit guest reaches a port of the host. */
export function hyperkitListenPath({ dir, port }: HyperkitAddress): string {
  return join(dir, `${hex8(HOST_CID)}.${hex8(port)}`);
}

/**
 * How to reach a port of a hyperkit guest: by that port's own socket where there is one, otherwise by the
 * socket that all ports share, with a line of greeting that names the port and is not answered.
 */
export function hyperkitDial({ dir, port }: HyperkitAddress): { path: string; greeting: string | undefined } {
  const name = `${hex8(HYPERKIT_GUEST_CID)}.${hex8(port)}`;
  const own = join(dir, name);
  if (statSync(own, { throwIfNoEntry: false })?.isSocket()) return { path: own, greeting: undefined };
  return { path: join(dir, 'connect'), greeting: `${name}\n` };
}

/** The socket by which a Firecracker guest reaches a port of the host. */
export function firecrackerListenPath({ path, port }: FirecrackerAddress): string {
  return `${path}_${port}`;
}

function hex8(value: number): string {
  return value.toString(16).padStart(8, '0');
}
