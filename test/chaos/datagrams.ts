import dgram from 'node:dgram';
import { firstWrong, patternOf } from './pattern.js';

/** How often (ms) a client sends a datagram, and how many it sends before another client takes its place. */
const PACE_MS = 20;
const EACH = 200;

/** Clients at the same time. */
const CLIENTS = 3;

const HEADER_BYTES = 8;
const MOST_BYTES = 1400;

/** UDP through the host's forward: datagrams may be lost, but what comes back is what was sent, once, to its sender. */
export class Datagrams {
  readonly #port: number;
  readonly #violate: (what: string) => void;
  readonly #clients = new Set<Client>();
  #next = 0;
  #running = false;
  sent = 0;
  answered = 0;

  /** @param port of the host's forward @param violate is told what must not be */
  constructor(port: number, violate: (what: string) => void) {
    this.#port = port;
    this.#violate = violate;
  }

  start(): void {
    this.#running = true;
    for (let count = 0; count < CLIENTS; count++) this.#add();
  }

  stop(): void {
    this.#running = false;
    for (const client of this.#clients) client.close();
    this.#clients.clear();
  }

  /** Resolves when a datagram has come back; it is sent again and again. */
  probe(): Promise<void> {
    return new Promise((resolve) => {
      const client = new Client(this.#next++, this.#port, this.#violate, {
        onAnswer: () => {
          client.close();
          resolve();
        },
        onSent: () => {},
      });
    });
  }

  #add(): void {
    const client = new Client(this.#next++, this.#port, this.#violate, {
      onAnswer: () => {
        this.answered++;
      },
      onSent: (count) => {
        this.sent++;
        if (count < EACH) return;
        client.close();
        this.#clients.delete(client);
        if (this.#running) this.#add();
      },
    });
    this.#clients.add(client);
  }
}

interface Listeners {
  onAnswer(): void;
  /** @param count how many it has sent by now */
  onSent(count: number): void;
}

/** One client's socket: a flow of its own. */
class Client {
  readonly #id: number;
  readonly #socket: dgram.Socket;
  readonly #timer: NodeJS.Timeout;
  readonly #violate: (what: string) => void;
  readonly #listeners: Listeners;
  readonly #waiting = new Set<number>();
  #sent = 0;

  constructor(id: number, port: number, violate: (what: string) => void, listeners: Listeners) {
    this.#id = id;
    this.#violate = violate;
    this.#listeners = listeners;
    this.#socket = dgram.createSocket('udp4');
    // Where there is no host ICMP says so.
    this.#socket.on('error', () => {});
    this.#socket.on('message', (bytes) => this.#take(bytes));
    this.#timer = setInterval(() => this.#send(port), PACE_MS);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#socket.close();
  }

  #send(port: number): void {
    const number = this.#sent++;
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32BE(this.#id, 0);
    header.writeUInt32BE(number, 4);
    this.#waiting.add(number);
    const payload = patternOf(this.#id, number, (number * 37) % MOST_BYTES);
    this.#socket.send([header, payload], port, '127.0.0.1', () => {});
    this.#listeners.onSent(this.#sent);
  }

  #take(bytes: Buffer): void {
    const [id, number] = bytes.length < HEADER_BYTES ? [] : [bytes.readUInt32BE(0), bytes.readUInt32BE(4)];
    if (id !== this.#id || number === undefined) this.#violate('UDP: an answer for somebody else');
    else if (!this.#waiting.delete(number)) this.#violate(`UDP: a second answer to datagram ${number}`);
    else if (bytes.length !== HEADER_BYTES + ((number * 37) % MOST_BYTES))
      this.#violate(`UDP: an answer of ${bytes.length} bytes to datagram ${number}`);
    else if (firstWrong(this.#id, number, bytes.subarray(HEADER_BYTES)) >= 0)
      this.#violate('UDP: a wrong byte');
    else this.#listeners.onAnswer();
  }
}
