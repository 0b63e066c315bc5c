import type { Tap } from '../../protocol/tap.js';
import type { ConnectionRecord } from '../records/connection-record.js';
import type { Ending } from '../records/ending.js';
import { type Ends, endsOf, nameConnection, nameEnding } from './naming.js';
import { udpPacket } from './packet.js';
import type { PacketSink } from './packet-sink.js';

/** The packets of one client of a UDP forward. No packet ends a flow: how it ended, a remark says. */
export class Flow implements Tap {
  readonly #record: ConnectionRecord;
  readonly #sink: PacketSink;
  readonly #ends: Ends;
  #comments: string[];

  /** @param joined whether it was there before the capture */
  constructor(record: ConnectionRecord, sink: PacketSink, joined: boolean) {
    this.#record = record;
    this.#sink = sink;
    this.#ends = endsOf(record.id, record.source);
    this.#comments = [nameConnection(record)];
    if (this.#ends.synthetic) this.#comments.push('the addresses are made up: one of them is not known');
    if (joined) this.#comments.push('taken up in the middle: it began before this capture');
  }

  fromClient(bytes: Uint8Array): void {
    this.#add(false, bytes);
  }

  fromServer(bytes: Uint8Array): void {
    this.#add(true, bytes);
  }

  /** A flow has no half. */
  clientEnded(): void {}
  serverEnded(): void {}
  connected(): void {}
  release(): void {}

  ended(ending: Ending): void {
    this.#sink.remark(nameEnding(this.#record, ending));
  }

  #add(outbound: boolean, bytes: Uint8Array): void {
    const { client, server } = this.#ends;
    const packet = outbound ? udpPacket(server, client, bytes) : udpPacket(client, server, bytes);
    if (this.#sink.add(packet, { outbound, comments: this.#comments })) this.#comments = [];
  }
}
