import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import net from 'node:net';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf, OperationError } from '../../../protocol/errors.js';
import { Child, type ChildProgram } from '../../child.js';
import type { Endpoint } from '../endpoint.js';

/** A forwarder to be measured. */
export interface Rival {
  readonly name: string;
  /** How it is set up, in a few words for the report. */
  readonly setup: string;
  /** Where it would strain the machine rather than itself to hold more. */
  readonly maxConnections?: number;
  /** @returns its version, or why it cannot take part */
  find(): Promise<{ version: string } | { absent: string }>;
  /**
   * Starts it, so that connections to its endpoint reach `target`.
   * @param folder an empty one, for sockets and files
   * @throws OperationError when it does not come up
   */
  start(target: Endpoint, folder: string): Promise<RunningRival>;
}

export interface RunningRival {
  endpoint: Endpoint;
  /** Its processes; their descendants count too. Empty when they are not known. */
  pids: number[];
  stop(): Promise<void>;
}

export const LOOPBACK = '127.0.0.1';

const START_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 3_000;
const RETRY_MS = 20;

/** The file of a program on PATH, or in one of the folders for daemons, which a user's PATH often lacks. */
async function findProgram(name: string): Promise<string | undefined> {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/local/sbin'];
  for (const folder of folders) {
    const file = join(folder, name);
    try {
      await access(file, constants.X_OK);
      return file;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/** Programs of one rival, started one after the other, and stopped together. */
export class Programs {
  readonly #children: Child[] = [];
  #lastWords = '';

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
    const child = new Child({ name, command }, (line) => {
      this.#lastWords = line;
    });
    this.#children.push(child);
    let ended: string | undefined;
    void child.ended.then((how) => {
      ended = how;
    });
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!(await listens(listensOn))) {
      if (ended !== undefined) throw new OperationError(ended);
      if (performance.now() > deadline)
        throw new OperationError(
          `${name} does not listen after ${START_TIMEOUT_MS / 1000} s: ${this.#lastWords}`,
        );
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.stop(STOP_TIMEOUT_MS)));
  }
}

/** A port that is free now. Most rivals cannot be told to choose one by themselves. */
export async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, LOOPBACK, resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
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

/** The first line that a program prints of itself with a version in it. */
async function versionOf(file: string, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(file, args);
  return (
    `${stdout}\n${stderr}`
      .split('\n')
      .find((line) => /\d\.\d/.test(line))
      ?.trim() ?? ''
  );
}

/** find() for a rival that is one program: its version if it is there. */
export async function findByVersion(
  name: string,
  ...versionArgs: string[]
): Promise<{ version: string } | { absent: string }> {
  const file = await findProgram(name);
  if (file === undefined) return { absent: `no ${name} on PATH` };
  try {
    return { version: versionArgs.length > 0 ? await versionOf(file, ...versionArgs) : '' };
  } catch (thrown) {
    return { absent: `${name} does not run: ${messageOf(thrown)}` };
  }
}

/** The file of a program that find() has found. */
export async function programFile(name: string): Promise<string> {
  return (await findProgram(name)) ?? name;
}
