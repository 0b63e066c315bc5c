import { once } from 'node:events';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '../errors.js';
import { acceptSockets } from './accept.js';
import { connectSocket } from './connect.js';
import type { Handles } from './handles.js';
import type { RawSocket, SocketAddress, SocketHandler } from './raw-socket.js';

/** How long (ms) the test may take. It takes a few; the machine may be busy. */
const TIME_LIMIT_MS = 5_000;

/** More than a unix socket holds in the kernel (208 KiB): some of it has to wait until the other end reads. */
const TRANSFER_BYTES = 320 * 1024;

/** What is sent, over and over: of no length that bytes are moved by, so that misplaced ones are noticed. */
const PATTERN = Uint8Array.from({ length: 251 }, (_, at) => at);

/** What a read brings at most; not a divisor of TRANSFER_BYTES. */
const READ_BYTES = 50_000;

/**
 * Finds out, over loopback, whether sockets on this Node do what the data path relies on: bytes arrive whole and
 * in order, those that have to wait too, and an end is told from a reset that comes right behind bytes.
 * @param internals what HandleSocket uses; null to test NodeSocket
 * @returns what is wrong; undefined if nothing is
 */
export async function testSockets(
  internals: Handles | null,
  timeLimitMs = TIME_LIMIT_MS,
): Promise<string | undefined> {
  const test = new SelfTest(internals);
  const late = setTimeout(() => test.fail(new Error(`no outcome within ${timeLimitMs} ms`)), timeLimitMs);
  const release = catchExceptions((thrown) => test.fail(thrown));
  try {
    await test.run();
    return undefined;
  } catch (thrown) {
    return messageOf(thrown);
  } finally {
    clearTimeout(late);
    test.close();
    release();
  }
}

/** What is thrown in a callback, on a Node that is other than it was, is a failure of the test: it ends no process. */
function catchExceptions(onThrown: (thrown: unknown) => void): () => void {
  if (process.hasUncaughtExceptionCaptureCallback()) return () => {};
  process.setUncaughtExceptionCaptureCallback(onThrown);
  return () => process.setUncaughtExceptionCaptureCallback(null);
}

class SelfTest {
  readonly #internals: Handles | null;
  readonly #servers: net.Server[] = [];
  readonly #sockets: RawSocket[] = [];
  readonly #sent = Buffer.alloc(TRANSFER_BYTES, PATTERN);
  readonly #failed: Promise<never>;
  fail: (reason: unknown) => void = () => {};

  constructor(internals: Handles | null) {
    this.#internals = internals;
    this.#failed = new Promise((_resolve, reject) => {
      this.fail = reject;
    });
  }

  /** @throws Error that says what is wrong */
  async run(): Promise<void> {
    const tcp = { host: '127.0.0.1', port: 0 };
    const path = join(tmpdir(), `portferry-${process.pid}.self-test`);
    const tests = [this.#testTransfer(tcp), this.#testReset(tcp), this.#testTransfer({ path })];
    await Promise.race([Promise.all(tests), this.#failed]);
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.reset();
  }

  /** The one end sends and ends; the other begins to read late, and answers with what has come. */
  async #testTransfer(listenOn: SocketAddress): Promise<void> {
    const answering = new Probe();
    const address = await this.#serve(listenOn, (socket) => {
      answering.attend(socket);
      setImmediate(() => socket.resume());
    });
    const asking = this.#dial(address);
    asking.sendAll(this.#sent);
    await Promise.race([answering.ended, answering.closed]);
    answering.sendAll(answering.bytes);
    await Promise.all([answering.closed, asking.closed]);
    for (const { bytes, error } of [answering, asking]) {
      if (error) throw new Error(`an end in good order was reported as ${error.message}`);
      if (!bytes.equals(this.#sent)) throw new Error('what was sent is not what arrived');
    }
  }

  async #testReset(listenOn: SocketAddress): Promise<void> {
    const address = await this.#serve(listenOn, (socket) => {
      socket.send(Buffer.from('cut short'));
      socket.reset();
    });
    const { closed, ended } = this.#dial(address);
    ended.then(() => this.fail(new Error('a reset was reported as an end in good order')));
    const error = await closed;
    if (error?.code !== 'ECONNRESET') throw new Error(`a reset was reported as ${error?.code ?? 'no error'}`);
  }

  /** @returns where it listens */
  async #serve(listenOn: SocketAddress, onSocket: (socket: RawSocket) => void): Promise<SocketAddress> {
    const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true });
    server.listen(listenOn);
    await once(server, 'listening');
    this.#servers.push(server);
    const tcp = !('path' in listenOn);
    acceptSockets(
      server,
      tcp,
      (socket) => {
        this.#sockets.push(socket);
        onSocket(socket);
      },
      this.#internals,
    );
    return tcp ? { ...listenOn, port: (server.address() as net.AddressInfo).port } : listenOn;
  }

  #dial(address: SocketAddress): Probe {
    const probe = new Probe();
    const socket = connectSocket(address, probe, () => {}, this.#internals);
    this.#sockets.push(socket);
    probe.attend(socket);
    return probe;
  }
}

/** One end of a connection. */
class Probe implements SocketHandler {
  readonly ended: Promise<void>;
  /** Resolves with what has ended the socket, if that was an error. */
  readonly closed: Promise<NodeJS.ErrnoException | undefined>;
  error: NodeJS.ErrnoException | undefined;
  readonly #memory = Buffer.allocUnsafe(READ_BYTES);
  readonly #chunks: Buffer[] = [];
  #socket: RawSocket | undefined;
  onEnd = (): void => {};
  onClose: SocketHandler['onClose'] = () => {};

  constructor() {
    this.ended = new Promise((resolve) => {
      this.onEnd = resolve;
    });
    this.closed = new Promise((resolve) => {
      this.onClose = (error) => {
        this.error = error;
        resolve(error);
      };
    });
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** @throws Error when the socket has no descriptor, without which it cannot be closed in good order */
  attend(socket: RawSocket): void {
    socket.setHandler(this);
    this.#socket = socket;
  }

  /** Sends and ends. Memory that is not needed any more is overwritten, as the data path does. */
  sendAll(bytes: Buffer): void {
    const memory = Buffer.from(bytes);
    if (this.#socket?.send(memory)) memory.fill(0);
    this.#socket?.end();
  }

  nextMemory(): Buffer {
    return this.#memory;
  }

  onRead(memory: Buffer, length: number): boolean {
    this.#chunks.push(Buffer.from(memory.subarray(0, length)));
    return true;
  }

  onSent(): void {}
}
