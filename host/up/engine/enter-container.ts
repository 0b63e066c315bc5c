import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { createContainer, removeContainers } from './containers.js';
import { type DockerCall, DockerCommand } from './docker-command.js';
import { explainDocker } from './docker-failure.js';
import { type EnginePlan, takeReady } from './engine-plan.js';

/** Of what docker and the guest write to standard error so much (characters) is looked at when they have ended. */
const TAIL = 4_096;

/** Said when there is no container of that name: somebody has removed it, or the engine has. */
const GONE = /no such container|no container with/i;

/** How docker's own lines begin, and podman's; all others on standard error are the guest's. */
const DOCKERS = /^(docker: |error|failed to|cannot connect|permission denied|context )/i;

/** How `docker start` has ended. */
interface Ending {
  code: number;
  /** Why, as far as docker itself has said so. */
  said: string;
}

/**
 * Enters the machine of an engine: starts its container, in which the guest has this process's standard input and
 * output for its channel, and makes it anew where it has gone.
 * @param stderr gets what the guest logs, and at last why docker has failed
 * @returns the exit code
 * @throws OperationError when no container can be had
 */
export async function enterContainer(plan: EnginePlan, stderr: Writable): Promise<number> {
  const ready = takeReady(plan.folder);
  if (ready !== undefined) {
    const ending = await startContainer(plan.docker, ready, stderr);
    if (!GONE.test(ending.said)) return report(ending, stderr);
  }
  const docker = new DockerCommand(plan.docker);
  // The one before may still run: where the engine was lost, nobody has told it to end.
  await removeContainers(docker, plan.folder);
  const container = await createContainer(docker, plan);
  takeReady(plan.folder);
  return report(await startContainer(plan.docker, container, stderr), stderr);
}

/** docker has standard input and output to itself: nothing of the channel goes through this process. */
async function startContainer(docker: DockerCall, container: string, stderr: Writable): Promise<Ending> {
  const [file, ...args] = docker;
  const child = spawn(file, [...args, 'start', '--attach', '--interactive', container], {
    stdio: ['inherit', 'inherit', 'pipe'],
  });
  let tail = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-TAIL);
    stderr.write(text);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  const said = code === 0 ? [] : tail.split('\n').filter((line) => DOCKERS.test(line));
  return { code: code ?? 1, said: said.join('\n') };
}

function report({ code, said }: Ending, stderr: Writable): number {
  if (said !== '') stderr.write(`${explainDocker("cannot start the guest's container", said)}\n`);
  return code;
}
