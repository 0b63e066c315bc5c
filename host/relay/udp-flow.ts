import type { DatagramStream } from '../../protocol/datagram-stream.js';
import type { DeadlineQueue } from '../../protocol/deadline-queue.js';
import type { Tap } from '../../protocol/tap.js';
import type { SourceAddress } from '../../protocol/wire/extension.js';
import type { Forward } from '../forwards/forward.js';
import type { UdpServerSocket } from '../listen/udp-server-socket.js';
import type { ConnectionRecord } from '../records/connection-record.js';

/** A UDP forward that is served. */
export interface FlowGroup {
  readonly forward: Forward;
  /** By what tells its clients apart; see keyOf. */
  readonly flows: Map<string, UdpFlow>;
  /** Ends those that are idle. */
  readonly idle: DeadlineQueue<UdpFlow>;
}

/** One client of a UDP forward: an address and port that datagrams come from, and the stream that takes them. */
export interface UdpFlow {
  readonly group: FlowGroup;
  readonly key: string;
  /** Where answers go: with its zone, unlike the record's. */
  readonly client: SourceAddress;
  readonly socket: UdpServerSocket;
  readonly record: ConnectionRecord;
  /** From the moment its stream is opened until it has ended. */
  stream: DatagramStream | undefined;
  /** Who looks at what is carried; nearly always nobody. */
  tap: Tap | undefined;
  /** Whether it was said that datagrams of this flow are dropped, or answers cannot be sent. */
  dropsLogged: boolean;
  answersLogged: boolean;
}

/** What tells clients of a forward apart. */
export function keyOf(client: SourceAddress, { address }: UdpServerSocket): string {
  return `${client.port} ${client.ip} ${address.ip}`;
}
