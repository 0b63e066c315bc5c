import { once } from 'node:events';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '../errors.js';
import { acceptSockets } from './accept.js';
import { connectSocket } from './connect-socket.js';
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

interface Listening {
  server: net.Server;
  address: SocketAddress;
}

class SelfTest {
  readonly #internals: Handles | null;
  readonly #servers: net.Server[] = [];
  readonly #sockets: RawSocket[] = [];
  readonly #sent = Buffer.alloc(TRANSFER_BYTES, PATTERN);
  readonly #failed: Promise<never>;
  /** It has failed: what is still on its way to begin is not to stay. */
  #closed = false;
  fail: (reason: unknown) => void = () => {};

  constructor(internals: Handles | null) {
    this.#internals = internals;
    this.#failed = new Promise((_resolve, reject) => {
      this.fail = reject;
    });
  }

  /** @throws Error that says what is wrong */
  async run(): Promise<void> {
    const tests = Promise.all([this.#testTcp(), this.#testUnix()]);
    await Promise.race([tests, this.#failed]);
  }

  close(): void {
    this.#closed = true;
    for (const server of this.#servers.splice(0)) server.close();
    for (const socket of this.#sockets) socket.reset();
  }

  async #testTcp(): Promise<void> {
    const loopback = { host: '127.0.0.1', port: 0 };
    await this.#testTransfer(await this.#listen(loopback));
    await this.#testReset(await this.#listen(loopback));
  }

  /** Where no unix socket can be had in the temporary folder, TCP is proof enough. */
  async #testUnix(): Promise<void> {
    const path = join(tmpdir(), `portferry-${process.pid}.self-test`);
    const listening = await this.#listen({ path }).catch(() => undefined);
    if (listening) await this.#testTransfer(listening);
  }

  /** The one end sends and ends; the other begins to read late, and answers with what has come. */
  async #testTransfer({ server, address }: Listening): Promise<void> {
    const answering = new Probe(this.#sent);
    this.#accept(server, (socket) => {
      answering.attend(socket);
      setImmediate(() => socket.resume());
    });
    const asking = this.#dial(address);
    asking.sendAll(this.#sent);
    await Promise.race([answering.ended, answering.closed]);
    answering.sendAll(this.#sent);
    await Promise.all([answering.closed, asking.closed]);
    for (const { complete, error } of [answering, asking]) {
      if (error) throw new Error(`an end in good order was reported as ${error.message}`);
      if (!complete) throw new Error('what was sent is not what arrived');
    }
  }

  /** What comes right before a reset must not look complete. */
  async #testReset({ server, address }: Listening): Promise<void> {
    this.#accept(server, (socket) => {
      socket.send(Buffer.from('cut short'));
      socket.reset();
    });
    const { ended, closed } = this.#dial(address);
    const outcome = await Promise.race([ended, closed]);
    const code = outcome?.code ?? 'an end in good order';
    if (code !== 'ECONNRESET') throw new Error(`a reset was reported as ${code}`);
  }

  async #listen(listenOn: SocketAddress): Promise<Listening> {
    const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true });
    server.listen(listenOn);
    await once(server, 'listening');
    this.#servers.push(server);
    if (this.#closed) this.close();
    if ('path' in listenOn) return { server, address: listenOn };
    return { server, address: { ...listenOn, port: (server.address() as net.AddressInfo).port } };
  }

  #accept(server: net.Server, onSocket: (socket: RawSocket) => void): void {
    const tcp = typeof server.address() !== 'string';
    const accepted = (socket: RawSocket): void => {
      this.#sockets.push(socket);
      this.#checkDescriptor(socket);
      onSocket(socket);
    };
    acceptSockets(server, tcp, accepted, this.#internals);
  }

  #dial(address: SocketAddress): Probe {
    const probe = new Probe(this.#sent);
    const socket = connectSocket(address, probe, () => this.#checkDescriptor(socket), this.#internals);
    this.#sockets.push(socket);
    probe.attend(socket);
    return probe;
  }

  /** Without it a socket cannot be told to deliver what it still has when it is closed. */
  #checkDescriptor({ fd }: RawSocket): void {
    if (!(fd >= 0)) this.fail(new Error('a connected socket has no descriptor'));
  }
}

/** One end of a connection. */
class Probe implements SocketHandler {
  readonly ended: Promise<undefined>;
  /** Resolves with what has ended the socket, if that was an error. */
  readonly closed: Promise<NodeJS.ErrnoException | undefined>;
  error: NodeJS.ErrnoException | undefined;
  readonly #memory = Buffer.allocUnsafe(READ_BYTES);
  readonly #expected: Buffer;
  /** Compared as they come: kept until the end, they would be most of the memory that a program starts with. */
  #received = 0;
  #asExpected = true;
  #socket: RawSocket | undefined;
  onEnd = (): void => {};
  onClose: SocketHandler['onClose'] = () => {};

  constructor(expected: Buffer) {
    this.#expected = expected;
    this.ended = new Promise((resolve) => {
      this.onEnd = () => resolve(undefined);
    });
    this.closed = new Promise((resolve) => {
      this.onClose = (error) => {
        this.error = error;
        resolve(error);
      };
    });
  }

  /** Whether what was expected has arrived, and nothing else. */
  get complete(): boolean {
    return this.#asExpected && this.#received === this.#expected.length;
  }

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
    const expected = this.#expected.subarray(this.#received, this.#received + length);
    this.#received += length;
    this.#asExpected &&= expected.equals(memory.subarray(0, length));
    return true;
  }

  onSent(): void {}
}
