import { hostname } from 'node:os';
import { messageOf, OperationError } from '../../../protocol/errors.js';
import { OLDEST_NODE, problemOfNode } from '../../../protocol/program/node-release.js';
import { createContainer, labelArgs, removeContainers, removeLeftovers, SOCKET_PATH } from './containers.js';
import { type DockerCall, DockerCommand } from './docker-command.js';
import { explainDocker } from './docker-failure.js';
import { writePlan } from './engine-plan.js';

/** The official slim image of a release of Node.js that is supported: until April 2028. */
export const DEFAULT_IMAGE = 'node:24-slim';

export interface EngineOptions {
  /** How the user's docker command is called. */
  docker: DockerCall;
  /** As `docker context ls` has it; empty for the one that docker itself would take. */
  context: string;
  image: string;
  /** The engine's socket on the engine's machine, where it is not the usual one. */
  socket: string | undefined;
  /** The guest in one file. */
  bundle: string;
  guestArgs: readonly string[];
  /** Told what takes long, and what is not worth a failure. */
  say(line: string): void;
  stop: AbortSignal;
}

/** What is known of an engine. */
interface EngineFacts {
  name: string;
  osType: string;
  rootless: boolean;
}

/** The engine that the user's docker command reaches, and the container in it by which its machine is entered. */
export class Engine {
  readonly #options: EngineOptions;
  readonly #docker: DockerCommand;
  #facts: EngineFacts | undefined;

  constructor(options: EngineOptions) {
    this.#options = options;
    const { docker, context } = options;
    const call: DockerCall = context === '' ? docker : [...docker, '--context', context];
    this.#docker = new DockerCommand(call);
  }

  /**
   * Whether the engine's 127.0.0.1 is this machine's. It is not where another machine answers, and not with a
   * rootless engine, which has a network of its own.
   */
  get isHere(): boolean {
    return this.#facts !== undefined && this.#facts.name === hostname() && !this.#facts.rootless;
  }

  /**
   * Asks the engine who it is, and removes what an `up` that was killed has left in it.
   * @throws OperationError that says what to do
   */
  async check(): Promise<void> {
    const what =
      this.#options.context === ''
        ? 'cannot use the Docker engine'
        : `cannot use the context ${this.#options.context}`;
    const printed = await this.#docker.must(what, ['info', '--format', '{{json .}}'], {
      signal: this.#options.stop,
    });
    this.#facts = readFacts(what, printed);
    if (this.#facts.osType !== 'linux')
      throw new OperationError(
        `${what}: it runs ${this.#facts.osType} containers; switch it to Linux containers`,
      );
    await removeLeftovers(this.#docker);
  }

  /**
   * Makes the container ready to be started, with the image pulled where it is not there.
   * @param folder of this `up`; the plan of the container lies there then
   * @throws OperationError that says what to do
   */
  async prepare(folder: string): Promise<void> {
    const { image, bundle, guestArgs, socket, stop: signal } = this.#options;
    await this.#pullImage();
    if (image !== DEFAULT_IMAGE) await this.#checkNode(folder);
    const engineSocket = socket ?? (await this.#findSocket());
    const plan = { docker: this.#docker.call, image, engineSocket, bundle, guestArgs, folder };
    writePlan(plan);
    await createContainer(this.#docker, plan, { signal });
  }

  /**
   * Removes the container.
   * @throws OperationError
   */
  remove(folder: string): Promise<void> {
    return removeContainers(this.#docker, folder);
  }

  async #pullImage(): Promise<void> {
    const { image, say, stop: signal } = this.#options;
    const found = await this.#docker.run(['image', 'inspect', image], { signal });
    if (found.code === 0) return;
    say(`pulling the image ${image}, which may take a minute`);
    const { code, stderr } = await this.#docker.run(['pull', '--quiet', image], { signal, timeoutMs: 0 });
    if (code === 0) return;
    throw new OperationError(
      `${explainDocker(`the engine has no image ${image}, and cannot pull it`, stderr)}; load it into the engine, or name another one that has Node.js with --image`,
    );
  }

  /** An image that the user has named may have any Node.js, or none. */
  async #checkNode(folder: string): Promise<void> {
    const { image, stop: signal } = this.#options;
    const args = [
      'run',
      '--rm',
      ...labelArgs(folder),
      '--network',
      'none',
      '--entrypoint',
      'node',
      image,
      '--version',
    ];
    const version = await this.#docker.must(`cannot use the image ${image}`, args, { signal });
    if (problemOfNode(version) === undefined) return;
    throw new OperationError(
      `the image ${image} has Node.js ${version}, which is too old: name one with ${OLDEST_NODE} or later, such as ${DEFAULT_IMAGE}`,
    );
  }

  /** An engine on this machine may have its socket elsewhere, and docker knows where; of others it is not known. */
  async #findSocket(): Promise<string> {
    if (this.#facts?.name !== hostname()) return SOCKET_PATH;
    const { context, stop: signal } = this.#options;
    const name = context === '' ? [] : [context];
    const args = ['context', 'inspect', '--format', '{{.Endpoints.docker.Host}}', ...name];
    const { stdout } = await this.#docker.run(args, { signal });
    return /^unix:\/\/(\/.*)$/.exec(stdout.trim())?.[1] ?? SOCKET_PATH;
  }
}

/** What `docker info` has printed; podman says the same in its own words. */
function readFacts(what: string, printed: string): EngineFacts {
  try {
    const { Name, OSType, SecurityOptions, ServerErrors, host } = JSON.parse(printed);
    if (ServerErrors?.length > 0) throw new OperationError(explainDocker(what, ServerErrors.join('\n')));
    return {
      name: Name ?? host?.hostname ?? '',
      osType: OSType ?? host?.os ?? 'linux',
      rootless: host?.security?.rootless ?? (SecurityOptions ?? []).includes('name=rootless'),
    };
  } catch (thrown) {
    if (thrown instanceof OperationError) throw thrown;
    throw new OperationError(
      `${what}: docker info has answered what is not understood (${messageOf(thrown)}); update docker`,
    );
  }
}
