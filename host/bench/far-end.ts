import { once } from 'node:events';
import net from 'node:net';
import { acceptSockets } from '../../protocol/socket/accept.js';
import type { RawSocket, SocketHandler } from '../../protocol/socket/raw-socket.js';
import { BLOCK_BYTES, isPattern, patternAt } from './pattern.js';

/** What a client of the far end asks for, in the first REQUEST_BYTES of a connection. */
export type FarEndRequest =
  /** The client sends `bytes` of the pattern; the far end checks them and answers with one byte. */
  | { kind: 'sink'; bytes: number }
  /** The far end sends `bytes` of the pattern and ends. */
  | { kind: 'source'; bytes: number }
  /** The far end sends back what it gets: the client finds what the way there or back has changed. */
  | { kind: 'exchange' };

/** u8 kind, u64 bytes. */
export const REQUEST_BYTES = 9;

/** Answers of a sink. */
export const SINK_OK = 1;
export const SINK_WRONG = 2;

const KINDS = ['sink', 'source', 'exchange'] as const;

export function encodeRequest(request: FarEndRequest): Buffer {
  const bytes = Buffer.alloc(REQUEST_BYTES);
  bytes.writeUInt8(KINDS.indexOf(request.kind), 0);
  bytes.writeBigUInt64LE(BigInt(request.kind === 'exchange' ? 0 : request.bytes), 1);
  return bytes;
}

function decodeRequest(bytes: Buffer): FarEndRequest | undefined {
  const kind = KINDS[bytes.readUInt8(0)];
  if (kind === undefined) return undefined;
  return kind === 'exchange' ? { kind } : { kind, bytes: Number(bytes.readBigUInt64LE(1)) };
}

/**
 * Serves the far end of the benchmark.
 * @param onError told what goes wrong while it listens, such as too many open files
 * @throws the system's error when it cannot listen
 */
export async function serveFarEnd(
  host: string,
  port: number,
  onError: (error: Error) => void,
): Promise<net.Server> {
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true });
  server.listen({ host, port, backlog: 4096 });
  await once(server, 'listening');
  server.on('error', onError);
  acceptSockets(server, true, (socket) => {
    socket.setHandler(new FarEndConnection(socket));
    socket.resume();
  });
  return server;
}

/** What all connections read into: each read is done with before the next one. */
const memory = Buffer.allocUnsafeSlow(BLOCK_BYTES);

class FarEndConnection implements SocketHandler {
  readonly #socket: RawSocket;
  readonly #head = Buffer.alloc(REQUEST_BYTES);
  #headLength = 0;
  #request: FarEndRequest | undefined;
  #done = 0;
  #right = true;

  constructor(socket: RawSocket) {
    this.#socket = socket;
  }

  nextMemory(): Buffer {
    return memory;
  }

  onRead(bytes: Buffer, length: number): boolean {
    let at = 0;
    if (!this.#request) {
      at = bytes.copy(this.#head, this.#headLength, 0, Math.min(length, REQUEST_BYTES - this.#headLength));
      this.#headLength += at;
      if (this.#headLength < REQUEST_BYTES) return true;
      this.#request = decodeRequest(this.#head);
      if (!this.#request) this.#socket.reset();
      else if (this.#request.kind === 'source') this.#sendMore(this.#request.bytes);
    }
    if (at < length) this.#take(bytes, at, length);
    return true;
  }

  #take(bytes: Buffer, at: number, length: number): void {
    if (this.#request?.kind === 'sink')
      this.#check(at === 0 ? bytes : bytes.subarray(at), length - at, this.#request.bytes);
    // A copy: the memory is read into again before these bytes have surely gone.
    else if (this.#request?.kind === 'exchange') this.#socket.send(Buffer.from(bytes.subarray(at, length)));
  }

  #check(bytes: Buffer, length: number, total: number): void {
    this.#right &&= isPattern(bytes, length, this.#done);
    this.#done += length;
    if (this.#done >= total)
      this.#socket.send(Buffer.of(this.#right && this.#done === total ? SINK_OK : SINK_WRONG));
  }

  #sendMore(total: number): void {
    while (this.#done < total) {
      const length = Math.min(BLOCK_BYTES, total - this.#done);
      const taken = this.#socket.send(patternAt(this.#done, length));
      this.#done += length;
      if (!taken) return;
    }
    this.#socket.end();
  }

  onSent(): void {
    if (this.#request?.kind === 'source' && this.#socket.unsent === 0) this.#sendMore(this.#request.bytes);
  }

  onEnd(): void {
    this.#socket.end();
  }

  onClose(): void {}
}
