import { existsSync } from 'node:fs';
import { UsageError } from '../../protocol/errors.js';
import type { OptionDeclarations, OptionValues } from '../../protocol/program/declared-options.js';
import { DEFAULT_RULES, type PublishRule, readRuleFile } from './rules.js';

/** Where a Docker engine has its socket, if nothing else is said. */
export const DEFAULT_SOCKET = '/var/run/docker.sock';
const OFF = 'off';

/** What the agent is told about Docker. */
export const DOCKER_OPTIONS = {
  docker: {
    type: 'string',
    describe: `Publish on the host what the Docker engine at this socket publishes in the VM; "${OFF}" for nothing`,
    bare: DEFAULT_SOCKET,
    defaultDescription: `${DEFAULT_SOCKET} where there is one, unless programs publish through this agent's own socket`,
  },
  'publish-rules': { type: 'string', describe: "Publish containers' ports as this JSON file says" },
} as const satisfies OptionDeclarations;

export interface DockerOptions {
  /** The path of the engine's socket. */
  socket: string;
  rules: readonly PublishRule[];
  /** Whether there is an engine, as far as is known: one that only may come is waited for without a warning. */
  expected: boolean;
}

/**
 * Whether containers' ports are published, and how.
 * @param viaApi whether programs in the VM, such as dockerd's userland proxy, publish through the agent's own
 *   socket: then every port would be asked for twice, so that it needs to be said that both are wanted
 * @returns undefined when they are not
 * @throws UsageError
 */
export function readDockerOptions(
  values: OptionValues<typeof DOCKER_OPTIONS>,
  viaApi: boolean,
  exists: (path: string) => boolean = existsSync,
): DockerOptions | undefined {
  const { docker, 'publish-rules': rulesPath } = values;
  const rules = rulesPath === undefined ? DEFAULT_RULES : readRuleFile(rulesPath);
  if (docker === OFF) return undefined;
  if (docker !== undefined) return { socket: readSocket(docker), rules, expected: true };
  if (rulesPath !== undefined) return { socket: DEFAULT_SOCKET, rules, expected: true };
  return viaApi ? undefined : { socket: DEFAULT_SOCKET, rules, expected: exists(DEFAULT_SOCKET) };
}

/** A path, also in the form that DOCKER_HOST has. */
function readSocket(text: string): string {
  const path = text.replace(/^unix:(\/\/)?/, '');
  if (path.startsWith('/')) return path;
  throw new UsageError(
    `--docker must be the path of the Docker engine's socket, such as ${DEFAULT_SOCKET}, or ${OFF}, not "${text}"`,
  );
}
