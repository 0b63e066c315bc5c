import type dgram from 'node:dgram';
import { type DatagramBudget, DatagramStream } from '../protocol/datagram-stream.js';
import { errnoOf } from '../protocol/errors.js';
import { createUdpSocket, takesDatagrams } from '../protocol/socket/udp-socket.js';
import type { Stream, StreamEnd } from '../protocol/stream.js';
import type { Reason } from '../protocol/wire/extension.js';

export interface UdpFlowOwner {
  /** The socket could not be had; the stream has been refused. Called at most once, and last. */
  onRefused(reason: Reason): void;
  /** Something went wrong that the flow survives; told once of each code in a flow. */
  onTrouble(reason: Reason): void;
  /** Stream and socket are over. Called at most once, and last. */
  onFinished(end: StreamEnd): void;
}

/** Joins a stream that the peer has opened to a UDP destination, and a connected socket of its own. */
export class UdpFlow {
  readonly stream: Stream;
  readonly #owner: UdpFlowOwner;
  readonly #budget: DatagramBudget;
  readonly #socket: dgram.Socket;
  readonly #startedAt = performance.now();
  readonly #troubles = new Set<string>();
  #datagrams: DatagramStream | undefined;
  #over = false;
  /** Datagrams that were not carried on, of either direction. */
  dropped = 0;

  private constructor(owner: UdpFlowOwner, budget: DatagramBudget, stream: Stream, ip: string) {
    this.#owner = owner;
    this.#budget = budget;
    this.stream = stream;
    this.#socket = createUdpSocket(ip);
  }

  /** Takes a stream and connects a socket to `ip` and `port`; the peer is told the outcome. */
  static dial(
    owner: UdpFlowOwner,
    budget: DatagramBudget,
    stream: Stream,
    { ip, port }: { ip: string; port: number },
  ): UdpFlow {
    const flow = new UdpFlow(owner, budget, stream, ip);
    flow.#connect(ip, port);
    return flow;
  }

  /** Ends both, stream and socket; the owner hears of it. */
  end(reason: Reason): void {
    if (this.#over) return;
    if (this.#datagrams) this.#datagrams.end(reason);
    else this.stream.reset(reason);
    this.#finish({ how: 'reset', reason });
  }

  #connect(ip: string, port: number): void {
    const socket = this.#socket;
    socket.on('error', (error) => this.#failed(error));
    socket.on('message', (payload) => this.#datagrams?.send(payload));
    // 0 is no port that could be dialled: node:dgram throws, as the kernel would refuse it.
    if (port === 0)
      queueMicrotask(() => this.#failed(Object.assign(new Error('port 0'), { code: 'EADDRNOTAVAIL' })));
    else
      socket.connect(port, ip, (error?: Error) => {
        if (error) this.#failed(error);
        else this.#connected();
      });
  }

  #connected(): void {
    if (this.#over) return;
    this.#datagrams = new DatagramStream(
      {
        onDatagram: (payload) => this.#deliver(payload),
        onDropped: (count) => {
          this.dropped += count;
          this.#trouble('ENOBUFS', 'datagrams are dropped: they come faster than the channel takes them');
        },
        onOpenResult: ignore,
        onClosed: (end) => this.#finish(end),
      },
      this.#budget,
      (handler) => {
        this.stream.accept(handler);
        return this.stream;
      },
    );
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

/** For an event that comes to the end only that has opened the stream. */
function ignore(): void {}
