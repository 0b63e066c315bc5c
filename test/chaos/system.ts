import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import { join } from 'node:path';
import { ControlClient } from '../../host/control/client.js';
import { freePorts } from '../fixtures/free-ports.js';
import { builtCommand, Program, temporaryFolder } from '../fixtures/programs.js';
import { WallClock } from './clock.js';
import type { DestinationMessage, OpenConnection } from './destination.js';
import type { Engine } from './engine.js';
import type { Machine } from './machine.js';
import type { Story } from './party.js';
import { ChannelRelay } from './relay.js';
import type { Scope } from './scope.js';

/** A control request that takes longer (ms) has failed. */
const ANSWER_MS = 5_000;

/** What an HTTP server says of its clock has whole seconds, and is put together once a second. */
const CLOCK_MS = 2_000;

/** So long (ms) after it was moved every program sees it: the library looks once a second, and CLOCK_MS. */
const CLOCK_SEEN_MS = 5_000;
const CLOCK_LOOK_MS = 50;

/** Ports for publishers. */
const PUBLISHED = 3;

/** How many lines of a program's log a failure shows. */
const LOG_LINES = 12;

export type ProgramName = 'host' | 'guest';
export const PROGRAM_NAMES: readonly ProgramName[] = ['host', 'guest'];

/** Where everything listens. */
export interface Ports {
  /** Of the host: the forwards. */
  readonly tcp: number;
  readonly udp: number;
  readonly published: readonly number[];
  /** Of the guest's machine: what they lead to. */
  readonly destination: number;
  readonly echo: number;
}

/** What is tested: host, relay, guest and destination, each of which can be hurt. */
export class System {
  readonly relay: ChannelRelay;
  readonly clock: WallClock;
  readonly control: ControlClient;
  readonly proxySocket: string;
  readonly ports: Ports;
  /** Beside the guest, if there is one. */
  readonly engine: Engine | undefined;
  readonly #scope: Scope;
  readonly #channel: string;
  readonly #programs: Record<ProgramName, Program[]> = { host: [], guest: [] };
  #destination: ChildProcess | undefined;
  onStory: (story: Story) => void = () => {};

  private constructor(scope: Scope, folder: string, ports: Ports, engine: Engine | undefined) {
    this.#scope = scope;
    this.ports = ports;
    this.engine = engine;
    this.#channel = join(folder, 'channel.sock');
    this.clock = new WallClock(folder);
    this.relay = new ChannelRelay(join(folder, 'relay.sock'), this.#channel);
    this.control = new ControlClient(join(folder, 'control.sock'), ANSWER_MS);
    this.proxySocket = join(folder, 'proxy.sock');
  }

  /** @param engine runs beside the guest, which is in its network then */
  static async start(scope: Scope, engine?: Engine): Promise<System> {
    const first = await freePorts(PUBLISHED + 4);
    const ports = {
      ...{ tcp: first, udp: first + 1, destination: first + 2, echo: first + 3 },
      published: Array.from({ length: PUBLISHED }, (_, index) => first + 4 + index),
    };
    const system = new System(scope, temporaryFolder(scope), ports, engine);
    await system.relay.open();
    scope.teardown(() => system.relay.close());
    scope.teardown(() => system.kill('destination'));
    await Promise.all([system.start('destination'), system.start('host'), system.start('guest')]);
    return system;
  }

  /** Resolves when it runs. */
  async start(name: ProgramName | 'destination'): Promise<void> {
    if (name === 'destination') return this.#startDestination();
    const program = name === 'host' ? this.#startHost() : this.#startGuest();
    this.#programs[name].push(program);
    const ready = name === 'host' ? /^udp \S+ → / : /^\{.*"msg"/;
    await program.line(ready);
  }

  program(name: ProgramName): Program {
    const program = this.#programs[name].at(-1);
    if (program) return program;
    throw new Error(`there is no ${name} yet`);
  }

  pid(name: ProgramName | 'destination'): number {
    const child = name === 'destination' ? this.#destination : this.program(name).child;
    return child?.pid ?? -1;
  }

  /** SIGKILL. Resolves when it is gone. */
  async kill(name: ProgramName | 'destination'): Promise<void> {
    if (name !== 'destination') {
      await this.program(name).stop('SIGKILL');
      return;
    }
    const child = this.#destination;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  /**
   * Waits until both programs see the wall clock that they were given.
   * @throws Error when one does not: nothing has been tried then
   */
  async untilClockSeen(machine: Machine): Promise<void> {
    const began = machine.mark();
    for (const path of [this.control.path, this.proxySocket]) {
      const look = async (): Promise<number> =>
        (await clockBehind(path)) - (Date.now() + 1000 * this.clock.offsetSeconds);
      let awry = await look();
      while (Math.abs(awry) > CLOCK_MS && machine.since(began) < CLOCK_SEEN_MS) {
        await new Promise((resolve) => setTimeout(resolve, CLOCK_LOOK_MS));
        awry = await look();
      }
      if (Math.abs(awry) > CLOCK_MS)
        throw new Error(
          `the clock behind ${path} is ${awry / 1000} s away from what it was set to: libfaketime does not move it`,
        );
    }
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT', ...names: readonly (ProgramName | 'destination')[]): void {
    for (const name of names) process.kill(this.pid(name), signal);
  }

  /** The connections that the destination has open. */
  async openAtDestination(): Promise<readonly OpenConnection[]> {
    const child = this.#destination;
    if (!child?.connected) return [];
    child.send('which?');
    for (;;) {
      const [message] = (await once(child, 'message')) as [DestinationMessage];
      if ('open' in message) return message.open;
    }
  }

  /** Which of the programs has ended though nobody has killed it. */
  get ended(): string | undefined {
    const name = PROGRAM_NAMES.find((each) => this.program(each).outcome !== undefined);
    return name && `the ${name} has ended by itself: ${this.program(name).outcome}`;
  }

  /** The last lines of both programs' logs, of those before them too. */
  describeLogs(): string[] {
    return PROGRAM_NAMES.flatMap((name) => {
      const lines = this.#programs[name].slice(-2).flatMap((program) => program.lines);
      return [`the last lines of the ${name}:`, ...lines.slice(-LOG_LINES)];
    });
  }

  /** What puts a command into the guest's machine; nothing where that is this one. */
  get #enter(): readonly string[] {
    return this.engine?.enter ?? [];
  }

  #startHost(): Program {
    const { tcp, udp, destination, echo } = this.ports;
    const [command, ...main] = builtCommand('host/main.js');
    const args = [
      ...[...main, 'host', '--listen', `unix:${this.#channel}`, '--control', this.control.path],
      ...['--forward', `127.0.0.1:${tcp}:${destination}`],
      // Flows end soon, so that nothing is left when it is quiet.
      ...['--forward', `127.0.0.1:${udp}:${echo}/udp/idle=2`],
    ];
    return Program.start(this.#scope.test, command, args, { env: this.clock.env });
  }

  #startGuest(): Program {
    const [command = '', ...main] = [...this.#enter, ...builtCommand('guest/main.js')];
    const args = ['--connect', `unix:${this.relay.path}`, '--proxy-socket', this.proxySocket];
    const { env } = this.clock;
    return Program.start(this.#scope.test, command, [...main, ...args, ...(this.engine?.guestArgs ?? [])], {
      env,
    });
  }

  async #startDestination(): Promise<void> {
    const { destination, echo } = this.ports;
    const self = [process.execPath, import.meta.filename, '--destination', `${destination}`, `${echo}`];
    const [command = '', ...args] = [...this.#enter, ...self];
    const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#destination = child;
    child.on('message', (message: DestinationMessage) => {
      if ('story' in message) this.onStory(message.story);
    });
    for (;;) {
      const [message] = (await once(child, 'message')) as [DestinationMessage];
      if ('ready' in message) return;
    }
  }
}

/** What the HTTP server on a socket takes for the time: ms since 1970. */
function clockBehind(socketPath: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = http.get({ socketPath, path: '/v1/status', agent: false }, (response) => {
      resolve(Date.parse(response.headers.date ?? ''));
      response.destroy();
    });
    request.on('error', reject);
  });
}
