import { OperationError } from '../errors.js';
import { enlargeChannelBuffers } from '../socket/buffers.js';
import { connectSocket } from '../socket/connect-socket.js';
import { type RawSocket, type SocketAddress, type SocketHandler, unattended } from '../socket/raw-socket.js';
import { FIRST_BYTES_LOGGED } from '../wire/handshake.js';
import { systemFailure } from './advice.js';
import { type ChannelAddress, describeAddress } from './channel-address.js';
import { Command } from './command.js';
import { ExecSocket } from './exec-socket.js';
import { checkStdio, openStdio, type StandardDescriptors } from './stdio.js';
import { connectablePath } from './unix-path.js';
import { connectLine } from './virtserial.js';
import { connectVsockChannel, findVsockMeans } from './vsock.js';
import { hyperkitDial } from './vsock-path.js';

/**
 * How long (ms) a connect to a channel address may take, its preamble included. What is local answers in
 * milliseconds or not at all.
 */
const CONNECT_TIMEOUT_MS = 10_000;

/** `OK `, a u32 in decimal and the line feed are 14 bytes; a longer line is no answer to CONNECT. */
const MAX_ANSWER_BYTES = 32;

/** How a connection attempt is bounded. */
export interface ConnectOptions {
  /** Gives up when aborted. */
  signal?: AbortSignal;
  /** Time (ms) for connecting and for what the VM's device must answer. Default: CONNECT_TIMEOUT_MS. */
  timeoutMs?: number;
  /** Gets each line that the command of an exec: address writes to standard error. */
  onLine?: (line: string) => void;
  /** What stdio: is. Default: this process's own. */
  standard?: StandardDescriptors;
}

/** What most often helps when a command cannot be started. */
const COMMAND_ADVICE = {
  ENOENT: 'there is no such program on the PATH of this process; give its whole path',
  EACCES: 'it is no program, or none that this user may run; correct its path, or its mode',
};

interface Dial {
  to: SocketAddress;
  greeting: string | undefined;
  /** Whether the device answers the greeting with a line of its own. */
  answered: boolean;
}

/**
 * Connects to a channel address. The socket is connected, paused and without a handler: set one, then call
 * resume(). No byte is lost that came meanwhile, and when the socket closes meanwhile the handler is told.
 * @throws OperationError that says the address, the errno and what to try
 */
export async function connectChannel(
  address: ChannelAddress,
  options: ConnectOptions = {},
): Promise<RawSocket> {
  const what = `cannot connect to ${describeAddress(address)}`;
  if (options.signal?.aborted) throw new OperationError(`${what}: it was cancelled`);
  if (address.kind === 'exec') return startCommand(address, options);
  if (address.kind === 'stdio') return openStdio(options.standard);
  if (address.kind === 'vsock') return connectVsockChannel(address, options.signal);
  if (address.kind === 'virtserial') return connectLine(address, options);
  const dial = dialOf(address);
  return new Promise((resolve, reject) => {
    new Attempt(what, dial, options, { resolve, reject });
  });
}

/**
 * Holds an address against what this system can connect to at all.
 * @param standard what stdio: is; default: this process's own
 * @throws OperationError when the path of its socket is too long, UsageError when standard input or output is no
 * channel: no other attempt will succeed
 */
export function checkConnectable(address: ChannelAddress, standard?: StandardDescriptors): void {
  if (address.kind === 'stdio') checkStdio(standard);
  else if (address.kind === 'vsock') findVsockMeans(`cannot connect to ${describeAddress(address)}`);
  else if (address.kind === 'virtserial') connectablePath(address.path);
  else if (address.kind !== 'exec') dialOf(address);
}

type ExecAddress = Extract<ChannelAddress, { kind: 'exec' }>;

async function startCommand(address: ExecAddress, options: ConnectOptions): Promise<RawSocket> {
  try {
    return new ExecSocket(await Command.start(address.command, options.onLine ?? (() => {})));
  } catch (thrown) {
    throw systemFailure(`cannot run ${describeAddress(address)}`, thrown, COMMAND_ADVICE);
  }
}

interface Settlers {
  resolve(socket: RawSocket): void;
  reject(error: OperationError): void;
}

function dialOf(address: Exclude<ChannelAddress, { kind: 'exec' | 'stdio' | 'vsock' | 'virtserial' }>): Dial {
  switch (address.kind) {
    case 'tcp':
      return { to: { host: address.host, port: address.port }, greeting: undefined, answered: false };
    case 'unix':
      return { to: { path: connectablePath(address.path) }, greeting: undefined, answered: false };
    case 'hyperkit': {
      const { path, greeting } = hyperkitDial(address);
      return { to: { path: connectablePath(path) }, greeting, answered: false };
    }
    case 'firecracker':
      return {
        to: { path: connectablePath(address.path) },
        greeting: `CONNECT ${address.port}\n`,
        answered: true,
      };
  }
}

/** One attempt to connect, which handles the socket until its outcome is known. */
class Attempt implements SocketHandler {
  readonly #what: string;
  readonly #dial: Dial;
  readonly #settle: Settlers;
  readonly #socket: RawSocket;
  readonly #signal: AbortSignal | undefined;
  readonly #deadline: NodeJS.Timeout;
  readonly #onAbort = (): void => this.#fail(new OperationError(`${this.#what}: it was cancelled`));
  #answer = Buffer.alloc(0);
  #connected = false;

  constructor(what: string, dial: Dial, { signal, timeoutMs }: ConnectOptions, settle: Settlers) {
    this.#what = what;
    this.#dial = dial;
    this.#settle = settle;
    this.#socket = connectSocket(dial.to, this, () => this.#onConnect());
    if (!dial.answered) this.#socket.pause();
    if (dial.greeting !== undefined) this.#socket.send(Buffer.from(dial.greeting));
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort);
    const limit = timeoutMs ?? CONNECT_TIMEOUT_MS;
    this.#deadline = setTimeout(() => this.#onTimeout(limit), limit);
  }

  nextMemory(): Buffer {
    return unattended.nextMemory();
  }

  onRead(memory: Buffer, length: number): boolean {
    this.#answer = Buffer.concat([this.#answer, memory.subarray(0, length)]);
    const lineEnd = this.#answer.subarray(0, MAX_ANSWER_BYTES).indexOf('\n');
    if (lineEnd < 0 && this.#answer.length < MAX_ANSWER_BYTES) return true;
    if (!/^OK \d+$/.test(this.#answer.toString('latin1', 0, Math.max(lineEnd, 0)))) {
      this.#fail(new OperationError(`${this.#what}: ${this.#answered()}; is that the VM's vsock socket?`));
      return false;
    }
    this.#socket.unread(this.#answer.subarray(lineEnd + 1));
    this.#succeed();
    return false;
  }

  onEnd(): void {
    this.#fail(
      new OperationError(
        `${this.#what}: it closed without accepting (${this.#answered()}); ` +
          'does the guest listen on that port?',
      ),
    );
  }

  onSent(): void {}

  onClose(error: NodeJS.ErrnoException | undefined): void {
    this.#fail(systemFailure(this.#what, error));
  }

  #onConnect(): void {
    this.#connected = true;
    if (!this.#dial.answered) this.#succeed();
  }

  #onTimeout(limit: number): void {
    const state = this.#connected ? this.#answered() : 'nothing answers';
    this.#fail(new OperationError(`${this.#what}: ${state} within ${limit} ms; check the address`));
  }

  #answered(): string {
    if (this.#answer.length === 0) return 'no answer to CONNECT';
    const first = this.#answer.toString('latin1', 0, FIRST_BYTES_LOGGED);
    return `the answer to CONNECT was ${JSON.stringify(first)} instead of "OK <port>\\n"`;
  }

  #succeed(): void {
    this.#release();
    if ('path' in this.#dial.to) enlargeChannelBuffers(this.#socket.fd);
    this.#settle.resolve(this.#socket);
  }

  #fail(error: OperationError): void {
    this.#release();
    this.#socket.reset();
    this.#settle.reject(error);
  }

  /** From here on the socket is its new owner's, or gone: no event may come back to this attempt. */
  #release(): void {
    clearTimeout(this.#deadline);
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#socket.setHandler(unattended);
  }
}
