import type dgram from 'node:dgram';
import { type DatagramBudget, DatagramStream } from '../../protocol/datagram-stream.js';
import { errnoOf } from '../../protocol/errors.js';
import { createUdpSocket, takesDatagrams } from '../../protocol/socket/udp-socket.js';
import type { Stream, StreamEnd } from '../../protocol/stream.js';
import type { Reason } from '../../protocol/wire/extension.js';

export interface UdpDialOwner {
  /** The socket could not be had; the stream has been refused. Called at most once, and last. */
  onRefused(reason: Reason): void;
  /** Something went wrong that the flow survives; told once of each code in a flow. */
  onTrouble(reason: Reason): void;
  /** Stream and socket are over. Called at most once, and last. */
  onFinished(end: StreamEnd): void;
}

export interface UdpDestination {
  ip: string;
  port: number;
}

/** Joins a stream that the peer has opened to a UDP destination, and a connected socket of its own. */
export class UdpDial {
  readonly stream: Stream;
  readonly #owner: UdpDialOwner;
  readonly #budget: DatagramBudget;
  readonly #to: UdpDestination;
  readonly #socket: dgram.Socket;
  readonly #startedAt = performance.now();
  readonly #troubles = new Set<string>();
  #datagrams: DatagramStream | undefined;
  #over = false;
  /** Datagrams that were not carried on, of either direction. */
  dropped = 0;

  /** @param stream opened by the peer, and not accepted yet; its destination is UDP */
  constructor(owner: UdpDialOwner, budget: DatagramBudget, stream: Stream, to: UdpDestination) {
    this.#owner = owner;
    this.#budget = budget;
    this.stream = stream;
    this.#to = to;
    this.#socket = createUdpSocket(to.ip);
  }

  /** Connects the socket; the peer is told the outcome, and the owner of a failure, maybe before this returns. */
  dial(): void {
    const { ip, port } = this.#to;
    const socket = this.#socket;
    socket.on('error', (error) => this.#failed(error));
    // 0 is no port that could be dialled: node:dgram throws where the kernel would refuse it.
    if (port === 0)
      this.#failed(Object.assign(new Error('port 0 cannot be dialled'), { code: 'EADDRNOTAVAIL' }));
    else
      socket.connect(port, ip, (error?: Error) => {
        if (error) this.#failed(error);
        else this.#connected();
      });
  }

  /** Ends both, stream and socket; the owner hears of it. */
  end(reason: Reason): void {
    if (this.#datagrams) this.#datagrams.end(reason);
    else this.stream.reset(reason);
    this.#finish({ how: 'reset', reason });
  }

  #connected(): void {
    if (this.#over) return;
    const datagrams = new DatagramStream(
      {
        onDatagram: (payload) => this.#deliver(payload),
        onDropped: (count) => {
          this.dropped += count;
          this.#trouble('ENOBUFS', 'datagrams are dropped: they come faster than the channel takes them');
        },
        onClosed: (end) => this.#finish(end),
      },
      this.#budget,
      (handler) => {
        this.stream.accept(handler);
        return this.stream;
      },
    );
    this.#datagrams = datagrams;
    this.#socket.on('message', (payload) => datagrams.send(payload));
    this.stream.reportConnected((performance.now() - this.#startedAt) * 1000);
  }

  /** @param again an answer of ICMP to an earlier datagram has kept this one from being sent: it is not its fault */
  #deliver(payload: Buffer, again = false): void {
    if (this.#over) return;
    if (!takesDatagrams(this.#socket)) {
      this.#lost('ENOBUFS', 'datagrams are dropped: the kernel takes no more');
      return;
    }
    this.#socket.send(payload, (error) => {
      if (!error) return;
      if (errnoOf(error) === 'ECONNREFUSED' && !again) {
        this.#trouble('ECONNREFUSED', 'nobody listens there');
        this.#deliver(payload, true);
      } else
        this.#lost(
          errnoOf(error) ?? 'EIO',
          `a datagram of ${payload.length} bytes could not be sent: ${error.message}`,
        );
    });
  }

  /** Of the socket itself: before it is connected that is the end, later a refusal that may be over soon. */
  #failed(error: Error): void {
    const reason = { code: errnoOf(error) ?? 'EIO', message: error.message };
    if (this.#datagrams) {
      this.#trouble(reason.code, reason.message);
      return;
    }
    if (this.#over) return;
    this.#close();
    this.stream.refuse('dial', reason, (performance.now() - this.#startedAt) * 1000);
    this.#owner.onRefused(reason);
  }

  #lost(code: string, message: string): void {
    this.dropped++;
    this.#trouble(code, message);
  }

  #trouble(code: string, message: string): void {
    if (this.#troubles.has(code)) return;
    this.#troubles.add(code);
    this.#owner.onTrouble({ code, message });
  }

  #finish(end: StreamEnd): void {
    this.#close();
    this.#owner.onFinished(end);
  }

  #close(): void {
    this.#over = true;
    this.#socket.close();
  }
}
