import http from 'node:http';
import { freePort } from '../fixtures/free-ports.js';
import { BUSYBOX, DockerVm } from '../system/fixtures/docker.js';
import type { Ledger } from './ledger.js';
import type { Machine } from './machine.js';
import type { Scope } from './scope.js';

/** What busybox's httpd serves. */
const PAGE = 'from the container\n';

/** A container's port is there, or gone, so long (ms) after docker has said so: it is told by the engine's events. */
const TOLD_MS = 2_000;

/** What a dockerd that was killed in the midst of it says from then on, for the port is taken in its own books. */
const LOST_PORT = /port is already allocated/;

/** How often (ms) it is looked. */
const LOOK_MS = 50;

/** A page that has not come after so long (ms) is asked for anew: a container may go in the midst of its answer. */
const PAGE_MS = 1_000;

/** A real dockerd beside the guest, and a container that comes and goes with a published port. */
export class Engine {
  readonly #vm: DockerVm;
  #port: number;
  readonly #steadyPort: number;
  #running = false;
  #done: Promise<void> = Promise.resolve();
  /** How many containers have come and gone. */
  published = 0;

  private constructor(vm: DockerVm, port: number, steadyPort: number) {
    this.#vm = vm;
    this.#port = port;
    this.#steadyPort = steadyPort;
  }

  /** @throws with the reason why there can be none here */
  static async start(scope: Scope): Promise<Engine> {
    const vm = await DockerVm.start(scope.test);
    if (!vm) throw new Error('dockerd cannot be started');
    const engine = new Engine(vm, await freePort(), await freePort());
    // It comes back with its dockerd.
    await vm.start(['--restart', 'always', '-p', `${engine.#steadyPort}:80`], ...SERVER);
    return engine;
  }

  /** What puts a command into the guest's machine. */
  get enter(): readonly string[] {
    return this.#vm.enter;
  }

  /** What the guest is to be started with. */
  get guestArgs(): readonly string[] {
    return [`--docker=${this.#vm.socket}`];
  }

  /** Has a container come and go until stop(), and tells what must not be. */
  startLoad(ledger: Ledger, machine: Machine, violate: (what: string) => void): void {
    this.#running = true;
    this.#done = this.#comeAndGo(ledger, machine, violate);
  }

  async stopLoad(): Promise<void> {
    this.#running = false;
    await this.#done;
  }

  /** Resolves when the container that stays answers, through the host. */
  async untilWorks(): Promise<void> {
    while (!(await this.#serves(this.#steadyPort))) await passing(LOOK_MS);
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#vm.signalDaemon(signal);
  }

  /** Kills dockerd, and starts it again. Resolves when it answers. */
  async killDaemon(): Promise<void> {
    await this.#vm.killDaemon();
    await this.#vm.startDaemon();
  }

  async #comeAndGo(ledger: Ledger, machine: Machine, violate: (what: string) => void): Promise<void> {
    while (this.#running) {
      const startedAt = performance.now();
      const unlessDisturbed = (what: string): void => {
        if (!ledger.disturbedSince(startedAt)) violate(`container on port ${this.#port}: ${what}`);
      };
      await this.#once(machine, unlessDisturbed).catch(async (thrown: unknown) => {
        if (LOST_PORT.test(String(thrown))) this.#port = await freePort();
        else unlessDisturbed(String(thrown));
      });
      // A fault may have kept it.
      await this.#vm.docker('rm', '-f', 'guest').catch(() => {});
    }
  }

  async #once(machine: Machine, unlessDisturbed: (what: string) => void): Promise<void> {
    await this.#vm.start(['--name', 'guest', '-p', `${this.#port}:80`], ...SERVER);
    const came = await within(TOLD_MS, machine, () => this.#serves(this.#port));
    if (!came) unlessDisturbed(`it does not answer ${TOLD_MS} ms after docker run`);
    await this.#vm.docker('rm', '-f', 'guest');
    const isGone = async (): Promise<boolean> => (await fetchPage(this.#port)) === 'ECONNREFUSED';
    const went = await within(TOLD_MS, machine, isGone);
    if (!went) unlessDisturbed(`it is still listened on ${TOLD_MS} ms after docker rm`);
    this.published++;
  }

  async #serves(port: number): Promise<boolean> {
    return (await fetchPage(port)) === PAGE;
  }
}

const SERVER = [BUSYBOX, 'httpd', '-f', '-h', '/www'] as const;

/** @returns what came, or the error's code */
function fetchPage(port: number): Promise<string> {
  return new Promise((resolve) => {
    const options = { host: '127.0.0.1', port, agent: false, path: '/', timeout: PAGE_MS };
    const request = http.get(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('close', () => resolve(response.complete ? text : 'cut short'));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', ({ code = 'failed' }: NodeJS.ErrnoException) => resolve(code));
  });
}

/** @returns whether it came true within that time (ms), what the machine is late left out */
async function within(ms: number, machine: Machine, condition: () => Promise<boolean>): Promise<boolean> {
  const began = machine.mark();
  while (!(await condition())) {
    if (machine.since(began) > ms) return false;
    await passing(LOOK_MS);
  }
  return true;
}

function passing(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
