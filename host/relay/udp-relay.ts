import type { StreamOpener } from '../../protocol/channel/stream-opener.js';
import { DatagramBudget, DatagramStream } from '../../protocol/datagram-stream.js';
import { DeadlineQueue } from '../../protocol/deadline-queue.js';
import { errnoOf, messageOf } from '../../protocol/errors.js';
import type { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { StreamEnd } from '../../protocol/stream.js';
import { formatDestination } from '../../protocol/wire/destination.js';
import type { Reason, SourceAddress } from '../../protocol/wire/extension.js';
import type { Forward } from '../forwards/forward.js';
import type { UdpListener } from '../listen/udp-listener.js';
import type { UdpServerSocket } from '../listen/udp-server-socket.js';
import { contextOf } from '../records/connection-log.js';
import { type Cause, endedByHost, streamEnded } from '../records/ending.js';
import type { Records } from '../records/records.js';
import { DEFAULT_IDLE_SECONDS } from '../rule/forward-rule.js';
import { type FlowGroup, keyOf, type UdpFlow } from './udp-flow.js';

/** Flows at once of all forwards: each costs the guest one file descriptor. */
export const MAX_FLOWS = 4096;

export interface UdpRelayOptions {
  streams: StreamOpener;
  records: Records;
  /** Flows at once. Default: MAX_FLOWS. */
  maxFlows?: number;
  limiter: LogLimiter;
}

/**
 * Serves the clients of all UDP forwards: the datagrams of each address and port go through a stream of their
 * own to the forward's destination, and answers go back. A flow ends when it is idle, when its forward or its
 * stream ends, or when there are too many and it has been idle longest.
 */
export class UdpRelay {
  readonly #streams: StreamOpener;
  readonly #records: Records;
  readonly #maxFlows: number;
  readonly #limiter: LogLimiter;
  readonly #budget = new DatagramBudget();
  /** Every flow, the one that has been idle longest first. */
  readonly #flows = new Set<UdpFlow>();
  /** Whether it was said in this outage that datagrams are dropped. */
  #outageLogged = false;
  /** Whether it was said that there are too many flows, since there last were few. */
  #crowdLogged = false;

  constructor({ streams, records, maxFlows = MAX_FLOWS, limiter }: UdpRelayOptions) {
    this.#streams = streams;
    this.#records = records;
    this.#maxFlows = maxFlows;
    this.#limiter = limiter;
  }

  /** Takes a forward that is listened on: until its listener is closed, its datagrams are carried. */
  serve(listener: UdpListener, forward: Forward): void {
    const idleSeconds = listener.rule.idleSeconds ?? DEFAULT_IDLE_SECONDS;
    const idle: Reason = { code: 'IDLE', message: `no datagram for ${idleSeconds} s` };
    const group: FlowGroup = {
      forward,
      flows: new Map(),
      idle: new DeadlineQueue(idleSeconds * 1000, (flow) =>
        this.#endFlow(flow, idle, { ...endedByHost(idle, 'closed'), how: 'timeout' }),
      ),
    };
    listener.start({
      onDatagram: (payload, client, socket) => this.#received(group, payload, client, socket),
      onClose: () => this.#endAll(group, { code: 'UNEXPOSED', message: 'the forward was removed' }),
    });
  }

  /** There is a channel: the next outage is worth a warning again. */
  onChannelUp(): void {
    this.#outageLogged = false;
  }

  // ---- from the clients ------------------------------------------------------------------------------

  #received(group: FlowGroup, payload: Buffer, client: SourceAddress, socket: UdpServerSocket): void {
    const key = keyOf(client, socket);
    const flow = group.flows.get(key) ?? this.#begin(group, key, client, socket);
    if (!flow) {
      group.forward.counters.dropped++;
      return;
    }
    this.#touch(flow);
    if (flow.tap) flow.tap.fromClient(payload);
    flow.stream?.send(payload);
  }

  #begin(group: FlowGroup, key: string, client: SourceAddress, socket: UdpServerSocket): UdpFlow | undefined {
    // Nothing could be sent back to port 0, nor would anybody but a forger send from there.
    if (client.port === 0) return undefined;
    if (!this.#streams.takesStreams) {
      this.#noChannel(group.forward);
      return undefined;
    }
    const [oldest] = this.#flows;
    if (oldest && this.#flows.size >= this.#maxFlows) this.#makeWay(oldest);
    const flow: UdpFlow = {
      ...{ group, key, client, socket },
      record: this.#records.begin(group.forward, { client, listener: socket.address }),
      stream: undefined,
      tap: undefined,
      dropsLogged: false,
      answersLogged: false,
    };
    if (!this.#open(flow)) return undefined;
    group.flows.set(key, flow);
    group.idle.add(flow);
    this.#flows.add(flow);
    return flow;
  }

  #open(flow: UdpFlow): boolean {
    const { record } = flow;
    const owner = {
      onDatagram: (payload: Buffer) => this.#answer(flow, payload),
      onFirstByte: record.firstByte.bind(record),
      onDropped: (count: number) => this.#dropped(flow, count),
      onOpenResult: record.dialled.bind(record),
      onClosed: (end: StreamEnd) => this.#closed(flow, end),
    };
    try {
      const stream = new DatagramStream(owner, this.#budget, (handler) =>
        this.#streams.open(record.forward.rule.destination, handler, record.source),
      );
      flow.stream = stream;
      record.streamOpened(stream.stream.id, stream, flow);
      return true;
    } catch (thrown) {
      record.ended(endedByHost({ code: errnoOf(thrown) ?? 'NOT_OPENED', message: messageOf(thrown) }));
      return false;
    }
  }

  #dropped(flow: UdpFlow, count: number): void {
    this.#count(flow, count);
    if (!flow.dropsLogged)
      this.#limiter.log(
        'debug',
        `drops ${flow.record.forward.id}`,
        contextOf(flow.record),
        'datagrams dropped: they come faster than the channel takes them; further ones of this flow are only counted',
      );
    flow.dropsLogged = true;
  }

  #count({ record }: UdpFlow, dropped: number): void {
    record.dropped += dropped;
    record.forward.counters.dropped += dropped;
  }

  // ---- to the clients --------------------------------------------------------------------------------

  #answer(flow: UdpFlow, payload: Buffer): void {
    this.#touch(flow);
    if (flow.tap) flow.tap.fromServer(payload);
    flow.socket.send(payload, flow.client, (error) => {
      this.#count(flow, 1);
      if (!flow.answersLogged)
        this.#limiter.log(
          'info',
          `answers ${flow.record.forward.id} ${errnoOf(error)}`,
          contextOf(flow.record),
          `an answer of ${payload.length} bytes could not be sent to the client: ${error.message}; further ones of this flow are only counted`,
        );
      flow.answersLogged = true;
    });
  }

  // ---- the end of flows ------------------------------------------------------------------------------

  /** The stream is over, by the guest or with the channel. */
  #closed(flow: UdpFlow, end: StreamEnd): void {
    // A plain guest ends flows by a Close alone, when nobody listens for instance.
    const fine = end.how === 'closed' || (end.how === 'reset' && end.reason.code === 'CLOSED_EARLY');
    this.#forget(
      flow,
      fine ? BY_GUEST : streamEnded(end, formatDestination(flow.record.forward.rule.destination)),
    );
  }

  #endFlow(flow: UdpFlow, reason: Reason, cause: Cause): void {
    flow.stream?.end(reason);
    this.#forget(flow, cause);
  }

  #endAll(group: FlowGroup, reason: Reason): void {
    const cause = endedByHost(reason, 'closed');
    for (const flow of group.flows.values()) this.#endFlow(flow, reason, cause);
  }

  #makeWay(oldest: UdpFlow): void {
    if (!this.#crowdLogged)
      this.#limiter.log(
        'warn',
        'crowd of flows',
        { forward: oldest.record.forward.id },
        `there are ${this.#flows.size} UDP flows, which is the limit: those that have been idle longest end for new ones`,
      );
    this.#crowdLogged = true;
    const reason = { code: 'CROWDED', message: 'it made way for a newer one' };
    this.#endFlow(oldest, reason, endedByHost(reason));
  }

  #forget(flow: UdpFlow, cause: Cause): void {
    this.#flows.delete(flow);
    flow.group.flows.delete(flow.key);
    flow.group.idle.delete(flow);
    flow.stream = undefined;
    flow.record.ended(cause);
    if (this.#flows.size < this.#maxFlows / 2) this.#crowdLogged = false;
  }

  /** The flow is busy: it is the last to be idle, or to make way. */
  #touch(flow: UdpFlow): void {
    flow.group.idle.renew(flow);
    this.#flows.delete(flow);
    this.#flows.add(flow);
  }

  #noChannel(forward: Forward): void {
    if (this.#outageLogged) return;
    this.#outageLogged = true;
    const { message } = this.#streams.obstacle;
    this.#limiter.log(
      'warn',
      'no channel for flows',
      { forward: forward.id },
      `datagrams are dropped: ${message}`,
    );
  }
}

/** The guest has ended a flow, and a flow has no end that could be a wrong one. */
const BY_GUEST: Cause = { outcome: 'closed', by: 'guest', how: 'FIN', message: 'the guest ended it' };
