import { setTimeout as delay } from 'node:timers/promises';
import { OperationError } from '../../../protocol/errors.js';
import { isAbandoned } from '../../../protocol/program/temporary-folder.js';
import type { CallOptions, DockerCommand } from './docker-command.js';
import { explainDocker } from './docker-failure.js';
import { type EnginePlan, FOLDER_LABEL, MACHINE_LABEL, setReady, thisMachine } from './engine-plan.js';

/** Where a container has the guest, and its engine's socket. */
const GUEST_PATH = '/portferry-guest.mjs';
export const SOCKET_PATH = '/var/run/docker.sock';

/** A container that ends by itself is in the way of its removal for a moment: how often, and in what pace (ms), it is tried. */
const REMOVAL_ATTEMPTS = 50;
const REMOVAL_PAUSE_MS = 100;

/** The labels by which a container of ours is told from others. */
export function labelArgs(folder: string): string[] {
  return ['--label', `${FOLDER_LABEL}=${folder}`, '--label', `${MACHINE_LABEL}=${thisMachine()}`];
}

/**
 * Makes the container of an `up`, with the guest in it, ready to be started.
 * @returns its id
 * @throws OperationError
 */
export async function createContainer(
  docker: DockerCommand,
  plan: EnginePlan,
  options?: CallOptions,
): Promise<string> {
  const { folder, image, engineSocket, bundle, guestArgs } = plan;
  const container = await docker.must(
    `cannot create a container of ${image}`,
    [
      'create',
      // Standard input and output are the channel: the engine is neither to keep what goes through, nor to go on
      // without its other end. Once the guest has ended nothing is left, also where nobody is there to remove it.
      ...['--interactive', '--log-driver', 'none', '--rm'],
      ...['--network', 'host', '--pid', 'host', '--privileged', '--user', '0'],
      ...['--mount', `type=bind,source=${engineSocket},target=${SOCKET_PATH}`],
      ...labelArgs(folder),
      ...['--entrypoint', 'node', image, GUEST_PATH, ...guestArgs],
    ],
    options,
  );
  await docker.must(
    'cannot copy the guest into the container',
    ['cp', bundle, `${container}:${GUEST_PATH}`],
    options,
  );
  setReady(folder, container);
  return container;
}

/**
 * Removes every container of an `up`, and waits until they are gone.
 * @throws OperationError
 */
export async function removeContainers(
  docker: DockerCommand,
  folder: string,
  attempts = REMOVAL_ATTEMPTS,
): Promise<void> {
  let problem = '';
  for (let attempt = 0; attempt < attempts; attempt++) {
    const containers = await list(docker, [`label=${FOLDER_LABEL}=${folder}`], '{{.ID}}');
    if (containers.length === 0) return;
    problem = (await docker.run(['rm', '--force', ...containers])).stderr;
    await delay(REMOVAL_PAUSE_MS);
  }
  throw new OperationError(explainDocker('cannot remove the container', problem));
}

/**
 * Removes the containers of those `up` of this machine that were killed.
 * @throws OperationError
 */
export async function removeLeftovers(docker: DockerCommand): Promise<void> {
  const format = `{{.ID}}\t{{.Label "${FOLDER_LABEL}"}}\t{{.Label "${MACHINE_LABEL}"}}`;
  const rows = await list(docker, [`label=${FOLDER_LABEL}`], format);
  const folders = rows.flatMap((row) => {
    const [, folder = '', machine] = row.split('\t');
    return machine === thisMachine() && isAbandoned(folder) ? [folder] : [];
  });
  for (const folder of new Set(folders)) await removeContainers(docker, folder);
}

async function list(docker: DockerCommand, filters: readonly string[], format: string): Promise<string[]> {
  const args = ['ps', '--all', ...filters.flatMap((filter) => ['--filter', filter]), '--format', format];
  const printed = await docker.must("cannot list the engine's containers", args);
  return printed.split('\n').filter((line) => line !== '');
}
