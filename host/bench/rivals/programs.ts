import net from 'node:net';
import { OperationError } from '../../../protocol/errors.js';
import { Child, type ChildProgram } from '../../../protocol/program/child.js';
import type { Endpoint } from '../endpoint.js';
import type { RunningRival } from './rival.js';

export const LOOPBACK = '127.0.0.1';

export const START_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 3_000;
const RETRY_MS = 20;

/**
 * A rival as the programs that `start` starts.
 * @param start resolves to where the rival listens; when it throws, what runs already is stopped
 */
export async function startPrograms(start: (programs: Programs) => Promise<Endpoint>): Promise<RunningRival> {
  const programs = new Programs();
  try {
    const endpoint = await start(programs);
    return { endpoint, pids: programs.pids, stop: () => programs.stop() };
  } catch (thrown) {
    await programs.stop();
    throw thrown;
  }
}

/** Programs of one rival, started one after the other, and stopped together. */
export class Programs {
  readonly #children: Child[] = [];
  readonly #startTimeoutMs: number;

  constructor(startTimeoutMs = START_TIMEOUT_MS) {
    this.#startTimeoutMs = startTimeoutMs;
  }

  get pids(): number[] {
    return this.#children.flatMap(({ pid }) => pid ?? []);
  }

  /**
   * Starts a program and waits until it listens.
   * @param listensOn a unix socket's path or an endpoint
   * @throws OperationError when it ends or does not listen in time
   */
  async start(command: ChildProgram['command'], listensOn: string | Endpoint): Promise<void> {
    const [name] = command;
    let lastWords = '';
    let ended: string | undefined;
    const child = new Child({ name, command }, (line) => {
      lastWords = `: ${line}`;
    });
    this.#children.push(child);
    void child.ended.then((how) => {
      ended = how;
    });
    const deadline = performance.now() + this.#startTimeoutMs;
    while (!(await listens(listensOn))) {
      if (ended !== undefined) throw new OperationError(ended);
      if (performance.now() > deadline)
        throw new OperationError(
          `${name} does not listen after ${this.#startTimeoutMs / 1000} s${lastWords}`,
        );
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.stop(STOP_TIMEOUT_MS)));
  }
}

/** A port of loopback that is free now. Most rivals cannot be told to choose one by themselves. */
export async function freeEndpoint(): Promise<Endpoint> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, LOOPBACK, resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return { host: LOOPBACK, port };
}

/** Sockets are looked for by asking the OS for one: what answers a connection is there. */
function listens(address: string | Endpoint): Promise<boolean> {
  return new Promise((resolve) => {
    const socket =
      typeof address === 'string' ? net.connect(address) : net.connect(address.port, address.host);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
