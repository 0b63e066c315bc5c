import type { RawSocket } from '../../protocol/socket/raw-socket.js';
import type { Splice } from '../../protocol/splice.js';
import type { Forward } from '../forwards/forward-table.js';
import { type Carried, ConnectionRecord, type ConnectionState } from '../records/connection-record.js';

export type { ConnectionState } from '../records/connection-record.js';

/** One client of a TCP or unix forward, from its accept to its end. */
export class ClientConnection extends ConnectionRecord {
  readonly socket: RawSocket;
  /** From the moment its stream is opened until it has ended. */
  splice: Splice | undefined;

  constructor(socket: RawSocket, forward: Forward) {
    // Now: of a socket that is closed the OS tells nothing any more.
    super(forward, { client: socket.remote, listener: socket.local });
    this.socket = socket;
  }

  opened(splice: Splice): void {
    this.splice = splice;
    this.streamOpened(splice.stream.id);
  }

  /** Keeps the figures, and lets go of the splice and what that holds. */
  override ended(state: ConnectionState): void {
    super.ended(state);
    this.splice = undefined;
  }

  protected override get carried(): Carried | undefined {
    if (!this.splice) return undefined;
    const { stream, firstPayloadAt } = this.splice;
    return { bytesToGuest: stream.bytesSent, bytesToHost: stream.bytesReceived, firstPayloadAt };
  }
}
