import http from 'node:http';
import net from 'node:net';
import type { Clients } from './clients.js';
import type { Ledger } from './ledger.js';
import type { Random } from './random.js';

/** How long (ms) a forward lives, and the next one is waited for, at most. */
const LIFE_MS = 1_500;

/** Its port is closed so long (ms) after its publisher has gone, on a machine that has much else to do. */
const GONE_MS = 3_000;

/** What publishers share. */
export interface PublisherParts {
  readonly proxySocket: string;
  /** What the forwards lead to in the guest. */
  readonly destination: number;
  readonly clients: Clients;
  readonly ledger: Ledger;
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
    // A request has a time limit, which goes on while everybody sleeps.
    const unlessDisturbed = (what: string): void => {
      if (!ledger.disturbedSince(startedAt)) violate(`published port ${this.#port}: ${what}`);
    };
    const agent = new http.Agent({ keepAlive: true });
    try {
      const answer = await this.#ask(agent);
      if (answer !== '') return unlessDisturbed(answer);
      this.published++;
      const until = performance.now() + this.#random.between(0, LIFE_MS);
      do {
        if (!(await clients.probe(this.#port))) return;
      } while (performance.now() < until);
    } catch (thrown) {
      unlessDisturbed(String(thrown));
    } finally {
      agent.destroy();
      await this.#untilClosed(unlessDisturbed);
    }
  }

  /** @returns why it was not granted, or an empty string */
  #ask(agent: http.Agent): Promise<string> {
    const { proxySocket, destination } = this.#parts;
    const body = {
      proto: 'tcp',
      out_ip: '127.0.0.1',
      out_port: this.#port,
      in_ip: '127.0.0.1',
      in_port: destination,
    };
    return new Promise((resolve, reject) => {
      const request = http.request({ socketPath: proxySocket, path: '/v1/proxy', method: 'POST', agent });
      request.on('error', reject);
      request.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        response.on('error', reject);
        response.on('end', () =>
          resolve(response.statusCode === 200 ? '' : `${response.statusCode} ${text}`),
        );
      });
      request.end(JSON.stringify(body));
    });
  }

  async #untilClosed(unlessDisturbed: (what: string) => void): Promise<void> {
    const until = performance.now() + GONE_MS;
    while (await isOpen(this.#port)) {
      if (performance.now() > until)
        return unlessDisturbed(`it is still listened on ${GONE_MS} ms after its publisher has gone`);
      await pause(20);
    }
  }
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.resetAndDestroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
