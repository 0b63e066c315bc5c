import type { SocketHandler } from '../../../protocol/socket/raw-socket.js';
import type { SimulatedSocket } from '../world/simulated-socket.js';
import { Violation, type World } from '../world/world.js';
import { Pattern } from './pattern.js';

/** What applications read into. */
const MEMORY = Buffer.allocUnsafeSlow(64 * 1024);

/** An application at one end of a forwarded connection: what it has sent, and what has come. */
export class App implements SocketHandler {
  readonly name: string;
  readonly #world: World;
  readonly #pattern: Pattern;
  #other: App | undefined;
  socket: SimulatedSocket | undefined;
  /** Bytes that it has sent, and those that have come. */
  sent = 0;
  received = 0;
  /** It has sent its last byte; all of the other's have come; or the connection has failed. */
  ended = false;
  endSeen = false;
  failed = false;
  closed = false;
  /** It reads no more until it is told to. */
  paused = false;
  /** How many bytes more it reads before it pauses. */
  appetite = Number.POSITIVE_INFINITY;

  constructor(world: World, name: string, key: number) {
    this.#world = world;
    this.name = name;
    this.#pattern = new Pattern(key);
  }

  static pair(world: World, number: number): [App, App] {
    const client = new App(world, `client ${number}`, 2 * number);
    const server = new App(world, `server ${number}`, 2 * number + 1);
    client.#other = server;
    server.#other = client;
    return [client, server];
  }

  attach(socket: SimulatedSocket): void {
    this.socket = socket;
    socket.setHandler(this);
    if (!this.paused) socket.resume();
  }

  /** Whether nothing more will happen to it. */
  get over(): boolean {
    return this.closed || (this.failed && this.socket?.destroyed !== false);
  }

  get canSend(): boolean {
    return this.socket !== undefined && !this.socket.destroyed && !this.ended && this.socket.unsent === 0;
  }

  send(length: number): void {
    if (!this.canSend) return;
    const bytes = Buffer.allocUnsafe(length);
    this.#pattern.write(bytes, this.sent);
    this.sent += length;
    this.#world.note(`${this.name} sends ${length} bytes`);
    this.socket?.send(bytes);
  }

  end(): void {
    if (!this.socket || this.ended) return;
    this.ended = true;
    this.#world.note(`${this.name} ends`);
    this.socket.end();
  }

  reset(): void {
    this.failed = true;
    this.#world.note(`${this.name} resets`);
    this.socket?.reset();
  }

  pause(): void {
    this.paused = true;
    this.socket?.pause();
  }

  resume(): void {
    this.paused = false;
    this.appetite = Number.POSITIVE_INFINITY;
    this.socket?.resume();
  }

  // ---- SocketHandler ---------------------------------------------------------------------------------

  nextMemory(): Buffer {
    return MEMORY;
  }

  onRead(memory: Buffer, length: number): boolean {
    const from = this.received;
    this.received += length;
    const other = this.#other as App;
    if (this.received > other.sent)
      throw new Violation(
        `${this.name} has got ${this.received} bytes, and ${other.name} has sent ${other.sent}`,
      );
    other.#pattern.check(memory.subarray(0, length), from, this.name);
    this.appetite -= length;
    if (this.appetite <= 0) this.paused = true;
    return !this.paused;
  }

  onEnd(): void {
    this.endSeen = true;
    const other = this.#other as App;
    if (other.ended && !other.failed && this.received === other.sent) return;
    // Whoever has sent all, and ended, may be reset after that: nothing is missing then.
    if (other.ended && this.received === other.sent) return;
    throw new Violation(
      `${this.name} was told of a clean end after ${this.received} bytes, and ${other.name} has sent ${other.sent}${
        other.ended ? ' and ended' : ' and not ended'
      }`,
    );
  }

  onSent(): void {}

  onClose(error: Error | undefined): void {
    this.closed = true;
    if (error) this.failed = true;
  }
}

/** One forwarded connection, as its two applications see it. */
export interface Connection {
  readonly number: number;
  readonly client: App;
  readonly server: App;
  /** Whether something has been done to it, or to what carries it, after which it may fail. */
  disturbed: boolean;
  /** How often the server's end has been told to the host's record. */
  recordsEnded: number;
}

export function isOver({ client, server }: Connection): boolean {
  return client.over && (server.over || server.socket === undefined);
}

/** @throws Violation when a connection that nothing was done to has not done all that it is for */
export function checkWhole({ number, client, server, disturbed }: Connection): void {
  if (disturbed) return;
  const whole = (app: App): boolean => app.endSeen && !app.failed;
  if (whole(client) && whole(server)) return;
  throw new Violation(
    `connection ${number} has failed though nothing was done to it: ${[client, server]
      .map(
        ({ name, endSeen, failed }) =>
          `${name} ${endSeen ? 'saw the end' : 'saw no end'}${failed ? ', failed' : ''}`,
      )
      .join('; ')}`,
  );
}
