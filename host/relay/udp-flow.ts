import type { DatagramStream } from '../../protocol/datagram-stream.js';
import type { DeadlineQueue } from '../../protocol/deadline-queue.js';
import type { SourceAddress } from '../../protocol/wire/extension.js';
import type { Forward } from '../forwards/forward-table.js';
import type { UdpServerSocket } from '../listen/udp-listener.js';
import { type Carried, ConnectionRecord, type ConnectionState } from '../records/connection-record.js';

/** A UDP forward that is served. */
export interface FlowGroup {
  readonly forward: Forward;
  /** By what tells its clients apart; see UdpFlow.keyOf. */
  readonly flows: Map<string, UdpFlow>;
  /** Ends those that are idle. */
  readonly idle: DeadlineQueue<UdpFlow>;
}

/** One client of a UDP forward: an address and port that datagrams come from, and the stream that takes them. */
export class UdpFlow extends ConnectionRecord {
  readonly group: FlowGroup;
  readonly key: string;
  /** Where answers go. */
  readonly client: SourceAddress;
  readonly socket: UdpServerSocket;
  /** From the moment its stream is opened until it has ended. */
  stream: DatagramStream | undefined;
  /** Whether it was said that datagrams of this flow are dropped, or answers cannot be sent. */
  dropsLogged = false;
  answersLogged = false;

  constructor(group: FlowGroup, key: string, client: SourceAddress, socket: UdpServerSocket) {
    super(group.forward, { client, listener: socket.address });
    this.group = group;
    this.key = key;
    this.client = client;
    this.socket = socket;
  }

  /** What tells clients of a forward apart. */
  static keyOf(client: SourceAddress, { address }: UdpServerSocket): string {
    return `${client.port} ${client.ip} ${address.ip}`;
  }

  opened(stream: DatagramStream): void {
    this.stream = stream;
    this.streamOpened(stream.stream.id);
  }

  /** Keeps the figures, and lets go of the stream and what that holds. */
  override ended(state: ConnectionState): void {
    super.ended(state);
    this.stream = undefined;
  }

  protected override get carried(): Carried | undefined {
    if (!this.stream) return undefined;
    const { bytesSent, bytesReceived, firstPayloadAt } = this.stream;
    return { bytesToGuest: bytesSent, bytesToHost: bytesReceived, firstPayloadAt };
  }
}
