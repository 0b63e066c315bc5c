import type { Target } from './target.js';
import { capture } from './targets/capture.js';
import { commandLines } from './targets/command-lines.js';
import { config } from './targets/config.js';
import { containers } from './targets/containers.js';
import { controlClient, hostApi } from './targets/control.js';
import { diagnosis } from './targets/diagnosis.js';
import { engine } from './targets/engine.js';
import { line } from './targets/line.js';
import { machine } from './targets/machine.js';
import { multiplexer } from './targets/multiplexer.js';
import { programs } from './targets/programs.js';
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
  programs,
  config,
  'command-lines': commandLines,
  capture,
  diagnosis,
  'lease-server': leaseServer,
  'lease-client': leaseClient,
  'inspect-server': inspectServer,
  'inspect-client': inspectClient,
  'guest-api': guestApi,
  'host-api': hostApi,
  'control-client': controlClient,
};
