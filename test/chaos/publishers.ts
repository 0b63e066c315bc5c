import http from 'node:http';
import net from 'node:net';
import { resetAtClose } from '../fixtures/connection-state.js';
import type { Clients } from './clients.js';
import type { Ledger } from './ledger.js';
import type { Machine } from './machine.js';
import type { Random } from './random.js';

/** How long (ms) a forward lives, and the next one is waited for, at most. */
const LIFE_MS = 1_500;

/** Its port is closed so long (ms) after its publisher has gone. */
const GONE_MS = 1_000;

/** How long (ms) a publisher that wants its forward for good waits before it asks again. */
const AGAIN_MS = 50;

/** What publishers share. */
export interface PublisherParts {
  readonly proxySocket: string;
  /** What the forwards lead to in the guest. */
  readonly destination: number;
  readonly clients: Clients;
  readonly ledger: Ledger;
  readonly machine: Machine;
  violate(what: string): void;
}

/** Asks the guest for a forward, uses it, and gives it up, again and again. */
export class Publisher {
  readonly #parts: PublisherParts;
  readonly #port: number;
  readonly #random: Random;
  #running = false;
  #done: Promise<void> = Promise.resolve();
  /** How many forwards it has had. */
  published = 0;

  /** @param port of the host, which nobody else takes */
  constructor(parts: PublisherParts, port: number, random: Random) {
    this.#parts = parts;
    this.#port = port;
    this.#random = random;
  }

  start(): void {
    this.#running = true;
    this.#done = this.#run();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }

  async #run(): Promise<void> {
    while (this.#running) {
      await this.once();
      await pause(this.#random.between(0, LIFE_MS));
    }
  }

  /** One forward, from its beginning to its end. */
  async once(): Promise<void> {
    const { clients, ledger, violate } = this.#parts;
    const startedAt = performance.now();
    // Whoever sleeps, or is slow, still gets his forward.
    const unlessHarmed = (what: string): void => {
      if (!ledger.harmedSince(startedAt)) violate(`published port ${this.#port}: ${what}`);
    };
    const agent = new http.Agent({ keepAlive: true });
    try {
      const answer = await ask(this.#parts, this.#port, agent);
      if (answer !== '') return unlessHarmed(answer);
      this.published++;
      const until = performance.now() + this.#random.between(0, LIFE_MS);
      do {
        if (!(await clients.probe(this.#port))) return;
      } while (performance.now() < until);
    } catch (thrown) {
      unlessHarmed(String(thrown));
    } finally {
      agent.destroy();
      await this.#untilClosed();
    }
  }

  async #untilClosed(): Promise<void> {
    const { ledger, machine, violate } = this.#parts;
    const goneAt = performance.now();
    const began = machine.mark();
    while (await isOpen(this.#port)) {
      if (machine.since(began) > GONE_MS) {
        const what = `it is still listened on ${GONE_MS} ms after its publisher has gone`;
        if (!ledger.disturbedSince(goneAt)) violate(`published port ${this.#port}: ${what}`);
        return;
      }
      await pause(20);
    }
  }
}

/** Asks the guest for a forward, and whenever that has gone for another one. */
export class SteadyPublisher {
  readonly port: number;
  readonly #parts: PublisherParts;
  #ended = false;

  constructor(parts: PublisherParts, port: number) {
    this.#parts = parts;
    this.port = port;
  }

  start(): void {
    void this.#run();
  }

  end(): void {
    this.#ended = true;
  }

  async #run(): Promise<void> {
    while (!this.#ended) {
      const agent = new http.Agent({ keepAlive: true });
      await new Promise<void>((resolve) => {
        void ask(this.#parts, this.port, agent, resolve).then(
          (refusal) => refusal !== '' && resolve(),
          () => resolve(),
        );
      });
      agent.destroy();
      await pause(AGAIN_MS);
    }
  }
}

/**
 * @param onGone told when the guest has ended the connection, and the forward with it
 * @returns why the forward was not granted, or an empty string
 */
function ask(
  { proxySocket, destination }: PublisherParts,
  port: number,
  agent: http.Agent,
  onGone: () => void = () => {},
): Promise<string> {
  const ends = { out_ip: '127.0.0.1', out_port: port, in_ip: '127.0.0.1', in_port: destination };
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath: proxySocket, path: '/v1/proxy', method: 'POST', agent });
    request.on('socket', (socket) => socket.once('close', onGone));
    request.on('error', reject);
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('error', reject);
      response.on('end', () => resolve(response.statusCode === 200 ? '' : `${response.statusCode} ${text}`));
    });
    request.end(JSON.stringify({ proto: 'tcp', ...ends }));
  });
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('connect', () => {
      // Not resetAndDestroy(), which ends the connection in good order first.
      resetAtClose(socket);
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
