import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { OperationError } from '../../../protocol/errors.js';
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

/**
 * Enters the machine of an engine: starts its container, in which the guest has this process's standard input and
 * output for its channel, and makes it anew where it has gone.
 * @param stderr gets what docker and the guest write there
 * @throws OperationError when no container can be had, or the guest has not ended in good order
 */
export async function enterContainer(plan: EnginePlan, stderr: Writable): Promise<void> {
  const ready = takeReady(plan.folder);
  if (ready !== undefined) {
    const ending = await startContainer(plan.docker, ready, stderr);
    if (!GONE.test(ending.said)) return judge(ending);
  }
  const docker = new DockerCommand(plan.docker);
  // The one before may still run: where the engine was lost, nobody has told it to end.
  await removeContainers(docker, plan.folder);
  const container = await createContainer(docker, plan);
  takeReady(plan.folder);
  judge(await startContainer(plan.docker, container, stderr));
}

/** How a line begins that says why a program has ended: portferry's own, and Node.js's, which is not the last. */
const REASONS = /^(portferry-guest: |\w*Error\b)/;

/** How `docker start` has ended. */
interface Ending {
  code: number | NodeJS.Signals;
  /** The last lines on standard error that docker itself has written. */
  said: string;
  /** The last line that says why a program has ended, or else the last one that is none of a log. */
  last: string;
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
  const [code, signal] = (await once(child, 'close')) as [number, null] | [null, NodeJS.Signals];
  // Lines of a log are JSON.
  const lines = tail.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
  const said = lines.filter((line) => DOCKERS.test(line)).join('\n');
  const last = lines.findLast((line) => REASONS.test(line)) ?? lines.at(-1) ?? '';
  return { code: code ?? signal, said, last };
}

function judge({ code, said, last }: Ending): void {
  if (code === 0) return;
  if (said !== '') throw new OperationError(explainDocker("cannot run the guest's container", said));
  const how = typeof code === 'number' ? `with exit code ${code}` : `by ${code}`;
  throw new OperationError(`the guest's container ended ${how}${last === '' ? '' : `: ${last}`}`);
}
