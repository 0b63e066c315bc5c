import type { Target } from './target.js';
import { config } from './targets/config.js';
import { containers } from './targets/containers.js';
import { engine } from './targets/engine.js';
import { line } from './targets/line.js';
import { machine } from './targets/machine.js';
import { multiplexer } from './targets/multiplexer.js';
import { guestApi, inspectClient, inspectServer, leaseClient, leaseServer } from './targets/services.js';
import { specs } from './targets/specs.js';
import { wire } from './targets/wire.js';

/** All that is fuzzed, but for the userland proxy, which is C: scripts/fuzz/proxy.mjs. */
export const TARGETS: Readonly<Record<string, Target>> = {
  wire,
  line,
  multiplexer,
  specs,
  containers,
  engine,
  machine,
  config,
  'lease-server': leaseServer,
  'lease-client': leaseClient,
  'inspect-server': inspectServer,
  'inspect-client': inspectClient,
  'guest-api': guestApi,
};
