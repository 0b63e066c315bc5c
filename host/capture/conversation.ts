import type { Tap } from '../../protocol/tap.js';
import type { ConnectionRecord } from '../records/connection-record.js';
import type { Ending } from '../records/ending.js';
import { type Ends, endsOf, nameConnection, nameEnding } from './naming.js';
import { type End, MAX_SEGMENT_BYTES, TCP, tcpPacket } from './packet.js';
import type { PacketSink } from './packet-sink.js';

/** Of a client whose server is not connected yet, so much payload is kept before that is taken for granted. */
export const MAX_HELD_BYTES = 64 * 1024;

/** Spreads initial sequence numbers: of two connections in succession between the same ports, they must differ. */
const SEQUENCE_STEP = 0x9e37_79b1;

const NOTHING = Buffer.alloc(0);

/** One end of the conversation, and how far it has come. */
interface Side {
  readonly end: End;
  /** The number of its next byte. */
  next: number;
  ended: boolean;
}

/**
 * The packets of one TCP or unix connection, as they would be on a wire between its client and a server that is
 * where the listener is: the connection is there when the server is, not when the listener has accepted it, so
 * that a dial that failed is a SYN and its RST. What the client has sent before is shown behind the handshake. All
 * that is received is acknowledged at once.
 */
export class Conversation implements Tap {
  readonly #record: ConnectionRecord;
  readonly #sink: PacketSink;
  readonly #client: Side;
  readonly #server: Side;
  #state: 'connecting' | 'connected' | 'over' = 'connecting';
  /** To be said with the next packet. */
  #comments: string[];
  /** What the client has sent before the server is connected, and whether it has ended then. */
  #held: Buffer[] = [];
  #heldBytes = 0;

  /** @param joined whether the connection was there before the capture */
  constructor(record: ConnectionRecord, sink: PacketSink, joined: boolean) {
    this.#record = record;
    this.#sink = sink;
    const ends = endsOf(record.id, record.source);
    const start = Math.imul(record.id, SEQUENCE_STEP) >>> 0;
    this.#client = { end: ends.client, next: start, ended: false };
    this.#server = { end: ends.server, next: ~start >>> 0, ended: false };
    this.#comments = commentsOf(record, ends);
    if (joined) this.#join();
    else this.#send(this.#client, TCP.syn);
  }

  // ---- what happens to it ----------------------------------------------------------------------------

  /** The server is connected. */
  connected(): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'connected';
    this.#send(this.#server, TCP.syn | TCP.ack);
    this.#send(this.#client, TCP.ack);
    const held = this.#takeHeld();
    for (const bytes of held) this.#data(this.#client, bytes);
    if (this.#client.ended) this.#finish(this.#client);
  }

  fromClient(bytes: Uint8Array): void {
    if (this.#state === 'connecting' && !this.#hold(bytes)) this.connected();
    if (this.#state === 'connected') this.#data(this.#client, bytes);
  }

  fromServer(bytes: Uint8Array): void {
    this.connected();
    if (this.#state === 'connected') this.#data(this.#server, bytes);
  }

  clientEnded(): void {
    this.#client.ended = true;
    if (this.#state === 'connected') this.#finish(this.#client);
  }

  serverEnded(): void {
    this.connected();
    this.#server.ended = true;
    if (this.#state === 'connected') this.#finish(this.#server);
  }

  ended(ending: Ending): void {
    if (this.#state === 'connecting' && (ending.outcome === 'closed' || ending.phase === 'data'))
      this.connected();
    const bytes = this.#heldBytes;
    if (bytes > 0) this.#comments.push(`the client had sent ${bytes} bytes, which nobody has got`);
    this.#takeHeld();
    this.#comments.push(nameEnding(this.#record, ending));
    const inOrder = ending.outcome === 'closed' && this.#client.ended && this.#server.ended;
    if (inOrder) this.#send(this.#lastToEnd === this.#client ? this.#server : this.#client, TCP.ack);
    else this.#reset(ending);
    this.#state = 'over';
  }

  /** The capture is over before the connection: what is held is shown. */
  release(): void {
    if (this.#heldBytes > 0) this.connected();
    this.#state = 'over';
  }

  // ---- packets ---------------------------------------------------------------------------------------

  #lastToEnd: Side | undefined;

  #join(): void {
    const { bytesToGuest, bytesToHost, state } = this.#record;
    const began = new Date(this.#record.openedAt).toISOString();
    this.#comments.push(
      `taken up in the middle: it began at ${began}, before this capture; ${bytesToGuest} bytes of the client and ${bytesToHost} of the server went before`,
    );
    if (state !== 'connected' && bytesToHost === 0 && bytesToGuest === 0) {
      this.#send(this.#client, TCP.syn);
      return;
    }
    this.#state = 'connected';
    this.#client.next = (this.#client.next + 1 + bytesToGuest) % 0x1_0000_0000;
    this.#server.next = (this.#server.next + 1 + bytesToHost) % 0x1_0000_0000;
  }

  #data(from: Side, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += MAX_SEGMENT_BYTES) {
      const payload = bytes.subarray(at, at + MAX_SEGMENT_BYTES);
      const last = at + payload.length === bytes.length;
      this.#send(from, last ? TCP.ack | TCP.psh : TCP.ack, payload);
    }
    this.#send(this.#other(from), TCP.ack);
  }

  /** The second end is acknowledged when it is known how all of it ended. */
  #finish(side: Side): void {
    this.#send(side, TCP.fin | TCP.ack);
    this.#lastToEnd = side;
    if (!this.#other(side).ended) this.#send(this.#other(side), TCP.ack);
  }

  /** By whoever broke it. One that has ended in order, but not of both sides, is reset if it is used again. */
  #reset({ by, outcome }: Ending): void {
    if (this.#record.forward.rule.proto === 'unix')
      this.#comments.push(
        'a unix socket has no RST: its other end has seen the end of the data, or an error',
      );
    const from = by === 'client' && outcome !== 'closed' ? this.#client : this.#server;
    this.#send(from, TCP.rst | TCP.ack);
  }

  #send(from: Side, flags: number, payload: Uint8Array = NOTHING): void {
    const to = this.#other(from);
    const packet = tcpPacket({
      from: from.end,
      to: to.end,
      sequence: from.next,
      acknowledged: to.next,
      flags,
      payload,
    });
    const control = (flags & (TCP.syn | TCP.fin)) === 0 ? 0 : 1;
    from.next = (from.next + payload.length + control) % 0x1_0000_0000;
    const outbound = from === this.#server;
    if (this.#sink.add(packet, { outbound, comments: this.#comments })) this.#comments = [];
  }

  #other(side: Side): Side {
    return side === this.#client ? this.#server : this.#client;
  }

  // ---- what the client has sent too early ------------------------------------------------------------

  /** @returns whether it is kept */
  #hold(bytes: Uint8Array): boolean {
    if (this.#heldBytes + bytes.length > MAX_HELD_BYTES || !this.#sink.hold(bytes.length)) return false;
    this.#heldBytes += bytes.length;
    this.#held.push(Buffer.from(bytes));
    return true;
  }

  #takeHeld(): Buffer[] {
    const held = this.#held;
    this.#sink.letGo(this.#heldBytes);
    this.#held = [];
    this.#heldBytes = 0;
    return held;
  }
}

function commentsOf(record: ConnectionRecord, { synthetic }: Ends): string[] {
  const name = nameConnection(record);
  return synthetic ? [name, 'the addresses are made up: a unix socket has none'] : [name];
}
