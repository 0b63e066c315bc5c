import { type Endpoint, formatEndpoint } from '../endpoint.js';
import { dockerProxy } from './docker-proxy.js';
import { haproxy } from './haproxy.js';
import { openssh } from './openssh.js';
import { makePortferry } from './portferry.js';
import type { Rival } from './rival.js';
import { socat } from './socat.js';
import { vpnkitForwarder } from './vpnkit-forwarder.js';

/** No forwarder at all: what the machine itself can do. */
const direct: Rival = {
  name: 'direct',
  setup: 'no forwarder',
  find: async () => ({ version: '' }),
  start: async (target) => ({ endpoint: target, pids: [], stop: async () => {} }),
};

/** In the order of the report. */
export const RIVALS: readonly Rival[] = [
  direct,
  makePortferry(),
  vpnkitForwarder,
  haproxy,
  socat,
  openssh,
  dockerProxy,
];

/** A forwarder that runs already, and leads to a far end started by `portferry bench serve`. */
export function externalRival(name: string, endpoint: Endpoint): Rival {
  return {
    name,
    setup: `at ${formatEndpoint(endpoint)}`,
    find: async () => ({ version: '' }),
    start: async () => ({ endpoint, pids: [], stop: async () => {} }),
  };
}
