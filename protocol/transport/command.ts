import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type net from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { childEnvironment, killGroupAtExit, signalGroup } from '../program/process-group.js';
import { readLines } from '../program/read-lines.js';
import { adoptSocket } from '../socket/adopt-socket.js';
import { enlargeChannelBuffers } from '../socket/buffers.js';
import { PairSocket } from '../socket/pair-socket.js';
import type { RawSocket } from '../socket/raw-socket.js';
import type { ExecCommand } from './channel-address.js';

/** How long (ms) a command may take to end after SIGTERM, before SIGKILL ends it. */
const TERMINATE_TIMEOUT_MS = 1_000;

/**
 * How long (ms) the last output of a command that has ended is waited for. It is there already, unless somebody
 * outside its process group, such as the master connection of ssh, holds the other end open.
 */
export const LAST_OUTPUT_MS = 500;

type Process = ChildProcessByStdio<Writable, Readable, Readable>;

/**
 * A command that runs, in a session of its own: it has no terminal to ask for a password on, and Ctrl-C is not for
 * it. Neither the command nor what it has started in its process group outlives this process.
 */
export class Command {
  /** Its standard output and input. */
  readonly socket: RawSocket;
  /** Resolves when it has ended, with how, and with what it has written to standard error last. */
  readonly ended: Promise<string>;
  readonly #pid: number;
  #killTimer: NodeJS.Timeout | undefined;

  private constructor(name: string, child: Process, pid: number, onLine: (line: string) => void) {
    this.#pid = pid;
    const [output, input] = ([child.stdout, child.stdin] as unknown as [net.Socket, net.Socket]).map(adopt);
    this.socket = new PairSocket(output as RawSocket, input as RawSocket);
    this.ended = this.#watch(name, child, onLine);
    killGroupAtExit(pid, this.ended);
  }

  /**
   * Starts a command.
   * @param onLine gets each line that it writes to standard error
   * @throws NodeJS.ErrnoException when the system cannot start it
   */
  static async start([file, ...args]: ExecCommand, onLine: (line: string) => void): Promise<Command> {
    const child = spawn(file, args, {
      env: childEnvironment(),
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    if (child.pid !== undefined) return new Command(file, child, child.pid, onLine);
    const [error] = await once(child, 'error');
    throw error;
  }

  /** Asks it to end, and makes it if it does not. */
  terminate(): void {
    if (this.#killTimer) return;
    signalGroup(this.#pid, 'SIGTERM');
    this.#killTimer = setTimeout(() => signalGroup(this.#pid, 'SIGKILL'), TERMINATE_TIMEOUT_MS);
  }

  #watch(name: string, child: Process, onLine: (line: string) => void): Promise<string> {
    const { stderr } = child;
    let last = '';
    readLines(stderr, (line) => {
      // Log lines of the far end are JSON; the line that says why a program ends is not.
      if (!line.startsWith('{')) last = ` (${JSON.stringify(line)})`;
      onLine(line);
    });
    return new Promise((resolve) =>
      child.once('exit', (code, signal) => {
        clearTimeout(this.#killTimer);
        signalGroup(this.#pid, 'SIGKILL');
        const settle = (): void => {
          clearTimeout(timer);
          stderr.destroy();
          resolve(`${name} ended ${signal ? `by ${signal}` : `with exit code ${code}`}${last}`);
        };
        const timer = setTimeout(settle, LAST_OUTPUT_MS);
        if (stderr.closed) settle();
        else stderr.once('close', settle).once('error', settle);
      }),
    );
  }
}

function adopt(stream: net.Socket): RawSocket {
  const socket = adoptSocket(stream);
  enlargeChannelBuffers(socket.fd);
  return socket;
}
