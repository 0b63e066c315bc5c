import type { ChannelKeeper } from '../../protocol/channel/channel-keeper.js';
import { DatagramBudget, DatagramStream } from '../../protocol/datagram-stream.js';
import { DeadlineQueue } from '../../protocol/deadline-queue.js';
import { messageOf } from '../../protocol/errors.js';
import type { Multiplexer } from '../../protocol/multiplexer.js';
import type { Logger } from '../../protocol/program/logger.js';
import type { StreamEnd } from '../../protocol/stream.js';
import { formatDestination } from '../../protocol/wire/destination.js';
import type { Reason, SourceAddress } from '../../protocol/wire/extension.js';
import type { Forward } from '../forwards/forward-table.js';
import type { UdpListener, UdpServerSocket } from '../listen/udp-listener.js';
import type { ConnectionState } from '../records/connection-record.js';
import type { ConnectionReport } from '../records/reports.js';
import { DEFAULT_IDLE_SECONDS } from '../rule/forward-rule.js';
import { describeRefusal } from './refusal.js';
import { type FlowGroup, UdpFlow } from './udp-flow.js';

/** Flows at once of all forwards: each costs the guest one file descriptor. */
const MAX_FLOWS = 4096;

/** Flows that have ended and are still reported. */
const RECENT_FLOWS = 64;

export interface UdpRelayOptions {
  keeper: ChannelKeeper;
  /** Flows at once. Default: MAX_FLOWS. */
  maxFlows?: number;
  logger: Logger;
}

/**
 * Serves the clients of all UDP forwards: the datagrams of each address and port go through a stream of their
 * own to the forward's destination, and answers go back. A flow ends when it is idle, when its forward or its
 * stream ends, or when there are too many and it has been idle longest.
 */
export class UdpRelay {
  readonly #keeper: ChannelKeeper;
  readonly #maxFlows: number;
  readonly #log: Logger;
  readonly #budget = new DatagramBudget();
  /** Every flow, the one that has been idle longest first. */
  readonly #flows = new Set<UdpFlow>();
  readonly #recent: UdpFlow[] = [];
  /** Whether it was said in this outage that datagrams are dropped. */
  #outageLogged = false;
  /** Whether it was said that there are too many flows, since there last were few. */
  #crowdLogged = false;

  constructor({ keeper, maxFlows = MAX_FLOWS, logger }: UdpRelayOptions) {
    this.#keeper = keeper;
    this.#maxFlows = maxFlows;
    this.#log = logger;
  }

  /** Takes a forward that is listened on: until its listener is closed, its datagrams are carried. */
  serve(listener: UdpListener, forward: Forward): void {
    const idleSeconds = listener.rule.idleSeconds ?? DEFAULT_IDLE_SECONDS;
    const idleReason = { code: 'IDLE', message: `no datagram for ${idleSeconds} s` };
    const group: FlowGroup = {
      forward,
      flows: new Map(),
      idle: new DeadlineQueue(idleSeconds * 1000, (flow) => this.#endFlow(flow, 'closed', idleReason)),
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

  /** Flows first, then those that ended last. */
  connections(): ConnectionReport[] {
    return [...this.#flows, ...this.#recent.toReversed()].map((flow) => flow.report());
  }

  // ---- from the clients ------------------------------------------------------------------------------

  #received(group: FlowGroup, payload: Buffer, client: SourceAddress, socket: UdpServerSocket): void {
    const key = UdpFlow.keyOf(client, socket);
    const flow = group.flows.get(key) ?? this.#begin(group, key, client, socket);
    if (!flow) {
      group.forward.counters.dropped++;
      return;
    }
    this.#touch(flow);
    flow.stream?.send(payload);
  }

  #begin(group: FlowGroup, key: string, client: SourceAddress, socket: UdpServerSocket): UdpFlow | undefined {
    // Nothing could be sent back to port 0, nor would anybody but a forger send from there.
    if (client.port === 0) return undefined;
    const { multiplexer } = this.#keeper;
    if (!multiplexer?.takesStreams) {
      this.#noChannel(group.forward);
      return undefined;
    }
    const [oldest] = this.#flows;
    if (oldest && this.#flows.size >= this.#maxFlows) this.#makeWay(oldest);
    const flow = new UdpFlow(group, key, client, socket);
    if (!this.#open(flow, multiplexer)) return undefined;
    group.forward.counters.connections++;
    group.forward.counters.active++;
    group.flows.set(key, flow);
    group.idle.add(flow);
    this.#flows.add(flow);
    return flow;
  }

  #open(flow: UdpFlow, multiplexer: Multiplexer): boolean {
    const { destination } = flow.forward.rule;
    const owner = {
      onDatagram: (payload: Buffer) => this.#answer(flow, payload),
      onDropped: (count: number) => this.#dropped(flow, count),
      onOpenResult: flow.connected.bind(flow),
      onClosed: (end: StreamEnd) => this.#closed(flow, end),
    };
    try {
      flow.opened(
        new DatagramStream(owner, this.#budget, (handler) =>
          multiplexer.open(destination, handler, flow.source),
        ),
      );
      return true;
    } catch (thrown) {
      this.#log.warn({ forward: flow.forward.id }, `datagram dropped: ${messageOf(thrown)}`);
      return false;
    }
  }

  #dropped(flow: UdpFlow, count: number): void {
    flow.forward.counters.dropped += count;
    if (!flow.dropsLogged)
      this.#log.debug(
        contextOf(flow),
        'datagrams dropped: they come faster than the channel takes them; further ones of this flow are only counted',
      );
    flow.dropsLogged = true;
  }

  // ---- to the clients --------------------------------------------------------------------------------

  #answer(flow: UdpFlow, payload: Buffer): void {
    this.#touch(flow);
    flow.socket.send(payload, flow.client, (error) => {
      flow.forward.counters.dropped++;
      if (!flow.answersLogged)
        this.#log.info(
          contextOf(flow),
          `an answer of ${payload.length} bytes could not be sent to the client: ${error.message}; further ones of this flow are only counted`,
        );
      flow.answersLogged = true;
    });
  }

  // ---- the end of flows ------------------------------------------------------------------------------

  /** The stream is over, by the guest or with the channel. */
  #closed(flow: UdpFlow, end: StreamEnd): void {
    const context = contextOf(flow);
    if (end.how === 'refused') {
      const why = describeRefusal(end.result, context.destination);
      this.#log.warn({ ...context, errno: end.result?.reason?.code }, `flow ended: ${why}`);
      this.#forget(flow, 'refused');
    } else if (end.how === 'closed' || end.reason.code === 'CLOSED_EARLY') {
      // A plain guest ends flows by a Close alone, when nobody listens for instance.
      this.#log.debug(context, 'flow ended by the guest');
      this.#forget(flow, 'closed');
    } else {
      // That a channel is lost has been said for all.
      const level = end.how === 'lost' ? 'debug' : 'info';
      this.#log[level]({ ...context, code: end.reason.code }, `flow ended: ${end.reason.message}`);
      this.#forget(flow, 'failed');
    }
  }

  #endFlow(flow: UdpFlow, state: ConnectionState, reason: Reason): void {
    this.#log.debug({ ...contextOf(flow), code: reason.code }, `flow ended: ${reason.message}`);
    flow.stream?.end(reason);
    this.#forget(flow, state);
  }

  #endAll(group: FlowGroup, reason: Reason): void {
    for (const flow of group.flows.values()) this.#endFlow(flow, 'closed', reason);
  }

  #makeWay(oldest: UdpFlow): void {
    if (!this.#crowdLogged)
      this.#log.warn(
        { forward: oldest.forward.id },
        `there are ${this.#flows.size} UDP flows, which is the limit: those that have been idle longest end for new ones`,
      );
    this.#crowdLogged = true;
    this.#endFlow(oldest, 'failed', { code: 'CROWDED', message: 'it made way for a newer one' });
  }

  #forget(flow: UdpFlow, state: ConnectionState): void {
    this.#flows.delete(flow);
    flow.group.flows.delete(flow.key);
    flow.group.idle.delete(flow);
    flow.ended(state);
    if (this.#flows.size < this.#maxFlows / 2) this.#crowdLogged = false;
    this.#recent.push(flow);
    if (this.#recent.length > RECENT_FLOWS) this.#recent.shift();
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
    const { state, address, lastError } = this.#keeper.state;
    const why =
      state === 'connected'
        ? 'the guest takes no new streams'
        : `no channel on ${address} (${lastError ?? 'no guest has come yet'}): start or check the guest`;
    this.#log.warn({ forward: forward.id }, `datagrams are dropped: ${why}`);
  }
}

function contextOf(flow: UdpFlow): { forward: string; streamId: number; destination: string } {
  return {
    forward: flow.forward.id,
    streamId: flow.streamId,
    destination: formatDestination(flow.forward.rule.destination),
  };
}
