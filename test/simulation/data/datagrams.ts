import {
  type DatagramBudget,
  type DatagramOwner,
  DatagramStream,
} from '../../../protocol/datagram-stream.js';
import type { Stream, StreamEnd, StreamHandler } from '../../../protocol/stream.js';
import { Violation } from '../world/world.js';
import { Side } from './side.js';

/** One end of a flow of numbered datagrams. */
export class DatagramSide extends Side<DatagramSide> implements DatagramOwner {
  flow: DatagramStream | undefined;
  /** The number of the one that came last. */
  #last = 0;
  dropped = 0;

  protected override get opened(): boolean {
    return this.flow !== undefined;
  }

  open(budget: DatagramBudget, makeStream: (handler: StreamHandler) => Stream): void {
    this.flow = new DatagramStream(this, budget, makeStream);
  }

  send(length: number): void {
    if (!this.flow || this.dead) return;
    const payload = Buffer.allocUnsafe(4 + length);
    payload.writeUInt32LE(++this.sent, 0);
    this.pattern.write(payload.subarray(4), this.sent);
    this.flow.send(payload);
  }

  giveUp(): void {
    if (this.over) return;
    this.gaveUp = true;
    this.world.note(`${this.name} ends`);
    this.flow?.end({ code: 'IDLE', message: 'it was idle' });
  }

  onDatagram(payload: Buffer): void {
    this.checkAlive('a datagram');
    const other = this.other as DatagramSide;
    const number = payload.readUInt32LE(0);
    if (number <= this.#last || number > other.sent)
      throw new Violation(`${this.name} gets datagram ${number} after ${this.#last}`);
    other.pattern.check(payload.subarray(4), number, this.name);
    this.#last = number;
    this.received++;
  }

  onDropped(count: number): void {
    this.dropped += count;
  }

  onClosed(end: StreamEnd): void {
    this.checkAlive('an end');
    this.end = end;
  }
}

/** @throws Violation when datagrams are neither here nor there, on a flow that nothing was done to */
export function checkDatagrams(from: DatagramSide, to: DatagramSide): void {
  if (to.received + from.dropped === from.sent) return;
  throw new Violation(
    `of ${from.sent} datagrams of ${from.name}, ${to.received} have come and ${from.dropped} are known to be lost`,
  );
}
