import type { Process, Source, Step, World } from '../world/world.js';

/** What becomes of an attempt to bind an address. */
export type BindOutcome = 'works' | 'fails' | 'late';

/** How long (ms) a bind may take that is late: the second is longer than a guest waits for its answer. */
const LATE_MS = [300, 7_000];

/** An address that somebody listens on. A unix socket has its path for an `ip`, and port 0. */
export interface MachineSocket {
  readonly ip: string;
  readonly port: number;
  /** Undefined: some program that is none of ours. */
  readonly process: Process | undefined;
}

interface Call {
  readonly process: Process;
  readonly what: string;
  ready: boolean;
  run(): void;
}

/** The first port that the system chooses where 0 is asked for. */
const FIRST_CHOSEN = 40_000;

/** The ports of the host's machine: who has which. It takes its time to give and take them, and may refuse. */
export class Machine implements Source {
  /** What becomes of the next binds of ports that are in anybody's reach; those after them work. */
  outcomes: BindOutcome[] = [];
  /** Whether the machine lets two programs have one port, by different addresses. */
  readonly sharesPorts: boolean;
  readonly #world: World;
  readonly #hasIpv6: boolean;
  readonly #sockets = new Set<MachineSocket>();
  #calls: Call[] = [];
  #chosen = FIRST_CHOSEN;

  constructor(world: World) {
    this.#world = world;
    this.sharesPorts = world.chance(0.25);
    this.#hasIpv6 = world.chance(0.7);
    world.sources.add(this);
  }

  /** Whether somebody waits for it. */
  get busy(): boolean {
    return this.#calls.length > 0;
  }

  /** Binds an address for a process. @throws an error with the code that the system would give */
  bind(process: Process, ip: string, port: number, reliably: boolean): Promise<MachineSocket> {
    const outcome = reliably ? 'works' : (this.outcomes.shift() ?? 'works');
    return new Promise((resolve, reject) => {
      const call = this.#call(process, `bind ${ip} ${port}`, () => {
        const code =
          outcome === 'fails' ? this.#world.pick(['EACCES', 'EADDRINUSE']) : this.#problemOf(ip, port);
        if (code !== undefined) reject(Object.assign(new Error(`bind ${code}`), { code }));
        else resolve(this.#add(ip, port || ip.startsWith('/') ? port : this.#choose(), process));
      });
      if (outcome !== 'late') return;
      call.ready = false;
      this.#world.later(this.#world.pick(LATE_MS), () => {
        call.ready = true;
      });
    });
  }

  /** Resolves when the address is free. */
  close(process: Process, socket: MachineSocket): Promise<void> {
    return new Promise((resolve) => {
      this.#call(process, `close ${socket.ip} ${socket.port}`, () => {
        this.#sockets.delete(socket);
        resolve();
      });
    });
  }

  /** Another program listens there, where it can. */
  takeByOther(ip: string, port: number): void {
    if (this.#problemOf(ip, port) !== undefined) return;
    this.#world.note(`another program takes ${ip} ${port}`);
    this.#add(ip, port, undefined);
  }

  /** One of the other programs goes, or all of them. */
  releaseByOthers(most: number): void {
    const others = [...this.#sockets].filter(({ process }) => !process);
    for (const socket of others.slice(0, most)) {
      this.#world.note(`another program lets go of ${socket.ip} ${socket.port}`);
      this.#sockets.delete(socket);
    }
  }

  /** A process is gone, and all that it had. */
  onKilled(killed: Process): void {
    this.#calls = this.#calls.filter(({ process }) => process !== killed);
    for (const socket of this.socketsOf(killed)) this.#sockets.delete(socket);
  }

  socketsOf(owner: Process): MachineSocket[] {
    return [...this.#sockets].filter(({ process }) => process === owner);
  }

  /** Who is in the way of an address, whatever the system would let pass. */
  holderOf(ip: string, port: number): MachineSocket | undefined {
    return [...this.#sockets].find((socket) => socket.port === port && overlap(socket.ip, ip));
  }

  offer(steps: Step[]): void {
    for (const call of this.#calls) {
      if (!call.ready) continue;
      const { process, what } = call;
      const run = (): void => {
        this.#calls.splice(this.#calls.indexOf(call), 1);
        call.run();
      };
      steps.push({ process, what, run });
    }
  }

  #call(process: Process, what: string, run: () => void): Call {
    const call = { process, what, ready: true, run };
    if (process.alive) this.#calls.push(call);
    return call;
  }

  #add(ip: string, port: number, process: Process | undefined): MachineSocket {
    const socket = { ip, port, process };
    this.#sockets.add(socket);
    return socket;
  }

  #problemOf(ip: string, port: number): string | undefined {
    if (ip.includes(':') && !this.#hasIpv6) return 'EADDRNOTAVAIL';
    if (port === 0 && !ip.startsWith('/')) return undefined;
    const inTheWay = [...this.#sockets].some(
      (socket) => socket.port === port && (this.sharesPorts ? socket.ip === ip : overlap(socket.ip, ip)),
    );
    return inTheWay ? 'EADDRINUSE' : undefined;
  }

  #choose(): number {
    do this.#chosen++;
    while ([...this.#sockets].some(({ port }) => port === this.#chosen));
    return this.#chosen;
  }
}

function overlap(a: string, b: string): boolean {
  if (a === b) return true;
  const wildcard = a.includes(':') ? '::' : '0.0.0.0';
  return a.includes(':') === b.includes(':') && (a === wildcard || b === wildcard);
}
