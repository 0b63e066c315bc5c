import { DatagramBudget } from '../../../protocol/datagram-stream.js';
import type { Stream } from '../../../protocol/stream.js';
import type { End, EndOptions } from '../world/end.js';
import type { Outcome } from '../world/network.js';
import { Schedule, type Which } from '../world/schedule.js';
import { SimulatedSocket } from '../world/simulated-socket.js';
import { Violation, type World } from '../world/world.js';
import { checkWindows } from './check-windows.js';
import { App, type Connection, checkWhole, isOver } from './connection.js';
import { checkDatagrams, DatagramSide } from './datagrams.js';
import { DirectSide } from './direct.js';
import { DataGuest, DataHost, DIAL_TIMEOUT_MS, forwardTo } from './ends.js';

/** Two ends of a stream or flow that is no forwarded connection. */
interface Direct<Side extends DirectSide | DatagramSide> {
  opener: Side;
  acceptor: Side;
  openedBy: Which;
  disturbed: boolean;
}

/** Connections, streams and datagrams between two ends. */
export class DataSchedule extends Schedule<DataHost, DataGuest> {
  readonly connections: Connection[] = [];
  readonly streams: Direct<DirectSide>[] = [];
  readonly flows: Direct<DatagramSide>[] = [];
  /** Streams that were opened by one end and not decided upon by the other one. */
  readonly #undecided: { run: () => void; end: End }[] = [];
  readonly #budgets = { host: new DatagramBudget(), guest: new DatagramBudget() };
  /** What becomes of the next dials of the guest. */
  dials: Outcome[] = [];

  protected override makeHost(options: EndOptions): DataHost {
    this.#budgets.host = new DatagramBudget();
    return new DataHost({
      ...options,
      onDirect: (stream) => this.#onDirect(stream, 'host'),
      onRecordEnded: ({ rule: { destination } }) => {
        if (destination.proto !== 'tcp') return;
        const connection = this.connections[destination.port] as Connection;
        connection.recordsEnded++;
        if (connection.recordsEnded > 1) throw new Violation(`client ${destination.port} has ended twice`);
      },
    });
  }

  protected override makeGuest(options: EndOptions): DataGuest {
    this.#budgets.guest = new DatagramBudget();
    return new DataGuest({
      ...options,
      onDirect: (stream) => this.#onDirect(stream, 'guest'),
      onDial: (port, socket) => this.#onDial(port, socket),
    });
  }

  protected override onGone(which: Which): void {
    for (const { openedBy, opener, acceptor } of [...this.streams, ...this.flows]) {
      const side = openedBy === which ? opener : acceptor;
      side.dead = true;
    }
  }

  // ---- connections -----------------------------------------------------------------------------------

  openConnection(): void {
    const { world, host, connections } = this;
    const number = connections.length;
    const [client, server] = App.pair(world, number);
    const disturbed = this.shaky || !host.keeper.takesStreams;
    connections.push({ number, client, server, disturbed, recordsEnded: 0 });
    world.note(`client ${number} comes`);
    const kind = { capacity: world.pick([1024, 8192, 300_000]), resets: true };
    const [own, far] = SimulatedSocket.pair(world, host.process, world.outside, kind);
    client.attach(far);
    world.as(host.process, () => host.relay.onClient(own, forwardTo(number)));
  }

  #onDial(number: number, socket: SimulatedSocket): Outcome {
    const outcome = this.dials.shift() ?? 'works';
    const { server } = this.connections[number] as Connection;
    if (outcome !== 'works') this.disturb(number);
    if (outcome === 'works' || outcome === 'late') server.attach(socket);
    else socket.vanish();
    return outcome;
  }

  disturb(number: number): void {
    (this.connections[number] as Connection).disturbed = true;
  }

  override disturbAll(): void {
    super.disturbAll();
    for (const each of [...this.connections, ...this.streams, ...this.flows]) each.disturbed = true;
  }

  // ---- streams and flows of the ends themselves --------------------------------------------------------

  openDirect(by: Which, kind: 'stream' | 'flow'): void {
    const { world } = this;
    const { process, keeper } = this[by];
    if (!keeper.takesStreams) return;
    const number = kind === 'stream' ? this.streams.length : this.flows.length;
    const names = [`${by}'s ${kind} ${number}`, `the other end of ${by}'s ${kind} ${number}`];
    const path = `simulation:${kind}/${number}`;
    const disturbed = this.shaky;
    world.note(`${names[0]} is opened`);
    world.as(process, () => {
      if (kind === 'stream') {
        const [opener, acceptor] = pairOf(DirectSide, world, names, number);
        this.streams.push({ opener, acceptor, openedBy: by, disturbed });
        opener.stream = keeper.open({ proto: 'unix', path }, opener);
      } else {
        const [opener, acceptor] = pairOf(DatagramSide, world, names, number);
        this.flows.push({ opener, acceptor, openedBy: by, disturbed });
        opener.open(this.#budgets[by], (handler) => keeper.open({ proto: 'unix', path }, handler));
      }
    });
  }

  #onDirect(stream: Stream, at: Which): void {
    const { destination } = stream;
    const [, kind, number] =
      destination.proto === 'unix' ? (/(\w+)\/(\d+)$/.exec(destination.path) ?? []) : [];
    if (kind === 'stream' || kind === 'flow') {
      const decide = (): void => this.#decide(stream, kind, Number(number), at);
      if (this.world.chance(0.5)) decide();
      else this.#undecided.push({ run: decide, end: this[at] });
    } else stream.refuse('service', { code: 'ENOENT', message: 'no such service' });
  }

  decideAll(): void {
    for (const { run, end } of this.#undecided.splice(0))
      if (end.process.alive) this.world.as(end.process, run);
  }

  #decide(stream: Stream, kind: 'stream' | 'flow', number: number, at: Which): void {
    if (kind === 'stream') {
      const direct = this.streams[number] as Direct<DirectSide>;
      const { acceptor } = direct;
      acceptor.stream = stream;
      if (this.world.chance(0.1)) {
        direct.disturbed = true;
        acceptor.refuse();
        return;
      }
      stream.accept(acceptor);
      stream.reportConnected(0);
    } else {
      const { acceptor } = this.flows[number] as Direct<DatagramSide>;
      acceptor.open(this.#budgets[at], (handler) => {
        stream.accept(handler);
        return stream;
      });
    }
  }

  /** What has not come to its end yet, for people. */
  #unfinished(): string[] {
    const names: string[] = [];
    for (const connection of this.connections)
      if (!isOver(connection)) names.push(`connection ${connection.number}`);
    for (const { opener, acceptor } of [...this.streams, ...this.flows])
      for (const side of [opener, acceptor]) if (!isSideOver(side)) names.push(side.name);
    return names;
  }

  // ---- the end ---------------------------------------------------------------------------------------

  /** Nothing is in anybody's way any more: all that was begun comes to its end. */
  finish(): void {
    this.dials = [];
    this.calm();
    checkWindows(this);
    this.checkFlows();
    this.decideAll();
    this.runToEnd(
      () => {
        this.#endAll();
        return this.#unfinished().length === 0;
      },
      () => `${this.#unfinished().join(', ')} never end`,
    );
    this.settle();
    this.checkEnds();
    this.stopBoth();
  }

  #endAll(): void {
    this.decideAll();
    for (const { client, server } of this.connections) {
      for (const app of [client, server]) {
        if (app.paused && !app.closed) app.resume();
        if (app.socket && app.socket.unsent === 0) app.end();
      }
    }
    for (const { openedBy, opener, acceptor } of this.streams) {
      const far = openedBy === 'host' ? this.guest : this.host;
      for (const [side, end] of [
        [opener, this[openedBy]],
        [acceptor, far],
      ] as const)
        if (!side.dead) this.world.as(end.process, () => endSide(side));
    }
    for (const { openedBy, opener } of this.flows)
      if (!opener.dead) this.world.as(this[openedBy].process, () => opener.giveUp());
  }

  checkEnds(): void {
    for (const connection of this.connections) checkWhole(connection);
    for (const { opener, acceptor, disturbed } of this.streams)
      if (!disturbed) for (const side of [opener, acceptor]) checkClosed(side);
    // What a client has sent before it ended in good order waits for the dial, which may go on.
    this.runToEnd(
      () => this.guest.pool.out <= 1,
      () => 'the guest holds slabs',
      DIAL_TIMEOUT_MS,
    );
    this.checkNothingHeld();
  }

  /** Checked while nothing goes on, before the end: flows have all that was sent, or know what was lost. */
  checkFlows(): void {
    for (const { opener, acceptor, disturbed } of this.flows) {
      if (disturbed || !acceptor.flow || opener.over || acceptor.over) continue;
      checkDatagrams(opener, acceptor);
      checkDatagrams(acceptor, opener);
    }
  }
}

function pairOf<Side extends { other: Side | undefined }>(
  Made: new (world: World, name: string, key: number) => Side,
  world: World,
  names: readonly string[],
  number: number,
): [Side, Side] {
  const opener = new Made(world, names[0] as string, 1000 + 2 * number);
  const acceptor = new Made(world, names[1] as string, 1001 + 2 * number);
  opener.other = acceptor;
  acceptor.other = opener;
  return [opener, acceptor];
}

function isSideOver(side: DirectSide | DatagramSide): boolean {
  return side.over;
}

function endSide(side: DirectSide): void {
  side.paused = false;
  side.consume();
  side.shutdown();
}

function checkClosed({ name, end, gaveUp }: DirectSide): void {
  if (!gaveUp && end?.how !== 'closed')
    throw new Violation(`${name} has not been closed in order, but ${end?.how ?? 'not ended'}`);
}
