import { DatagramBudget } from '../../protocol/datagram-stream.js';
import type { Stream } from '../../protocol/stream.js';
import { WINDOW_BUDGET_BYTES } from '../../protocol/window.js';
import { FEATURES, type Feature } from '../../protocol/wire/handshake.js';
import { checkWindows } from './check-windows.js';
import { App, type Connection, checkWhole, isOver } from './connection.js';
import { checkDatagrams, DatagramSide } from './datagrams.js';
import { DirectSide } from './direct.js';
import { type End, forwardTo, GuestEnd, HostEnd } from './ends.js';
import { Network, type Outcome } from './network.js';
import { SimulatedSocket } from './simulated-socket.js';
import { Violation, World } from './world.js';

/** Steps after which a schedule that has not come to its end is taken for one that never will. */
const MOST_STEPS = 200_000;

/** Time (ms) that everything has to come to its end, once nothing is in its way: timeouts are shorter. */
const LONGEST_END_MS = 120_000;

/** What a step may take (ms) on a machine so slow that a peer may be taken for dead which is not. */
const SLOW_STEP_MS = 30;

/** Two ends of a stream or flow that is no forwarded connection. */
interface Direct<Side extends DirectSide | DatagramSide> {
  opener: Side;
  acceptor: Side;
  openedBy: 'host' | 'guest';
  disturbed: boolean;
}

/** One run of two ends: all that happens in it follows from its seed. */
export class Schedule {
  readonly world: World;
  readonly network: Network;
  host!: HostEnd;
  guest!: GuestEnd;
  readonly connections: Connection[] = [];
  readonly streams: Direct<DirectSide>[] = [];
  readonly flows: Direct<DatagramSide>[] = [];
  /** Streams that were opened by one end and not decided upon by the other one. */
  readonly #undecided: { run: () => void; end: End }[] = [];
  readonly #budgets = { host: new DatagramBudget(), guest: new DatagramBudget() };
  readonly #hostListens: boolean;
  #features: { host: readonly Feature[]; guest: readonly Feature[] };
  /** Something has been done to the channel, and it is not known to stand again. */
  #shaken = false;
  /** What becomes of the next dials of the guest. */
  dials: Outcome[] = [];

  constructor(seed: number, trace?: (line: string) => void) {
    this.world = new World(seed, trace);
    const { world } = this;
    world.stepMs = world.pick([0, 0, 0.02, SLOW_STEP_MS]);
    this.network = new Network(world);
    this.#hostListens = world.chance(0.5);
    this.#features = { host: this.#pickFeatures(), guest: this.#pickFeatures() };
  }

  /** Starts the two ends; in the place of the system. */
  begin(): void {
    this.host = this.startHost();
    this.guest = this.startGuest();
  }

  // ---- the two ends ----------------------------------------------------------------------------------

  startHost(): HostEnd {
    this.#setEarly();
    return new HostEnd({
      ...{ world: this.world, network: this.network, features: this.#features.host },
      mode: this.#hostListens ? 'listen' : 'connect',
      onDirect: (stream) => this.#onDirect(stream, 'host'),
      onRecordEnded: ({ rule: { destination } }) => {
        if (destination.proto !== 'tcp') return;
        const connection = this.connections[destination.port] as Connection;
        connection.recordsEnded++;
        if (connection.recordsEnded > 1) throw new Violation(`client ${destination.port} has ended twice`);
      },
    });
  }

  startGuest(): GuestEnd {
    this.#setEarly();
    return new GuestEnd({
      ...{ world: this.world, network: this.network, features: this.#features.guest },
      mode: this.#hostListens ? 'connect' : 'listen',
      onDirect: (stream) => this.#onDirect(stream, 'guest'),
      onDial: (port, socket) => this.#onDial(port, socket),
    });
  }

  /** The process of one end is gone, with all that it had, and is started again. */
  kill(which: 'host' | 'guest'): void {
    const { world } = this;
    const { process } = this[which];
    world.note(`the ${which} is killed`);
    this.disturbAll();
    world.kill(process);
    for (const source of [...world.sources])
      if (source instanceof SimulatedSocket && source.process === process) source.vanish();
    for (const { openedBy, opener, acceptor } of [...this.streams, ...this.flows]) {
      const side = openedBy === which ? opener : acceptor;
      side.dead = true;
    }
    this.restart(which);
  }

  restart(which: 'host' | 'guest'): void {
    this.#features[which] = this.#pickFeatures();
    this.#budgets[which] = new DatagramBudget();
    if (which === 'host') this.host = this.startHost();
    else this.guest = this.startGuest();
  }

  #setEarly(): void {
    const { host, guest } = this.#features;
    this.network.early = host.includes('early-data') && guest.includes('early-data');
  }

  #pickFeatures(): readonly Feature[] {
    const { world } = this;
    if (world.chance(0.6)) return FEATURES;
    return world.chance(0.4) ? [] : FEATURES.filter(() => world.chance(0.6));
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

  /** Whether what is begun now may fail though nothing is done to it. */
  get shaky(): boolean {
    return this.world.stepMs === SLOW_STEP_MS || this.#shaken || this.host.stopping || this.guest.stopping;
  }

  disturb(number: number): void {
    (this.connections[number] as Connection).disturbed = true;
  }

  /** Something has happened to the channel, or to an end: whatever there is may fail. */
  disturbAll(): void {
    this.#shaken = true;
    for (const each of [...this.connections, ...this.streams, ...this.flows]) each.disturbed = true;
  }

  // ---- streams and flows of the ends themselves --------------------------------------------------------

  openDirect(by: 'host' | 'guest', kind: 'stream' | 'flow'): void {
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

  #onDirect(stream: Stream, at: 'host' | 'guest'): void {
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

  #decide(stream: Stream, kind: 'stream' | 'flow', number: number, at: 'host' | 'guest'): void {
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

  // ---- running ---------------------------------------------------------------------------------------

  run(most: number): void {
    for (let count = 0; count < most; count++) if (!this.world.step()) return;
  }

  /** Lets everything happen that can without time. */
  settle(): void {
    while (this.world.step()) this.#checkSteps();
    const wires = this.network.live().flat();
    const stands = wires.length === 2 && wires.every(({ destroyed, frozen }) => !destroyed && !frozen);
    if (stands && this.host.keeper.takesStreams && this.guest.keeper.takesStreams) this.#shaken = false;
  }

  #checkSteps(): void {
    if (this.world.steps > MOST_STEPS)
      throw new Violation(`still at work after ${MOST_STEPS} steps: it will not come to an end`);
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

  /** Lets time pass until everything is over. */
  runToEnd(isDone: () => boolean, what: () => string): void {
    const until = this.world.now + LONGEST_END_MS;
    for (;;) {
      this.settle();
      if (isDone()) return;
      this.#checkSteps();
      // Looking has perhaps set something going.
      if (this.world.step()) continue;
      if (!this.world.advance(until)) throw new Violation(`nothing goes on any more: ${what()}`);
    }
  }

  // ---- the end ---------------------------------------------------------------------------------------

  /** Nothing is in anybody's way any more: all that was begun comes to its end. */
  finish(): void {
    this.world.note('the end begins');
    for (const wire of this.network.live()) for (const socket of wire) socket.frozen = false;
    this.network.outcomes = [];
    this.dials = [];
    for (const which of ['host', 'guest'] as const) {
      const end = this[which];
      if (!end.stopping) continue;
      this.runToEnd(
        () => end.stopped,
        () => `the ${which} does not stop`,
      );
      this.restart(which);
    }
    this.settle();
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
    this.#stopBoth();
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
    for (const { keeper, pool, process } of [this.host, this.guest]) {
      const { multiplexer } = keeper;
      if (multiplexer) {
        if (multiplexer.streams.size > 0)
          throw new Violation(`the ${process.name} still has streams:\n${multiplexer.describe()}`);
        if (multiplexer.budget.free !== WINDOW_BUDGET_BYTES)
          throw new Violation(`${WINDOW_BUDGET_BYTES - multiplexer.budget.free} bytes of credit are lost`);
        if (multiplexer.skipped.unknown > 0) throw new Violation('a frame was unknown');
      }
      if (pool.out > 1) throw new Violation(`${pool.out} slabs are held by the ${process.name}`);
    }
  }

  #stopBoth(): void {
    const ends = [this.host, this.guest];
    for (const end of this.world.chance(0.5) ? ends : ends.reverse()) end.stop(1_000);
    this.runToEnd(
      () => ends.every(({ stopped }) => stopped),
      () => 'an end does not stop',
    );
    this.settle();
    for (const { process, pool } of ends) {
      const [timer] = this.world.timersOf(process);
      if (timer) throw new Violation(`the ${process.name} has stopped, and still has ${timer}`);
      if (pool.out > 0)
        throw new Violation(`the ${process.name} has stopped, and still holds ${pool.out} slabs`);
    }
    for (const end of ends) end.recycle();
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
