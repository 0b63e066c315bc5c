import net from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Logger } from '../../protocol/program/logger.js';

/**
 * Lets clients in to an API that is made when the first one comes: what it is made of takes more memory, and more time
 * to load, than all the rest of a host that nobody asks for anything.
 */
export class Door {
  /** It is for whoever has made the door to listen with it. */
  readonly server: net.Server;
  readonly #make: () => Promise<FastifyInstance>;
  readonly #logger: Logger;
  readonly #name: string;
  #made: Promise<FastifyInstance> | undefined;

  /** @param name of the API, for the log */
  constructor(name: string, make: () => Promise<FastifyInstance>, logger: Logger) {
    this.#name = name;
    this.#make = make;
    this.#logger = logger;
    // Half-open as an http.Server's; and nobody is read from before there is one who reads.
    this.server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
      this.#letIn(socket),
    );
  }

  /** Stops answering. Whoever is connected then is for the API's hook preClose to let go. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    const app = await this.#made;
    await Promise.all([closed, app?.close()]);
  }

  #letIn(socket: net.Socket): void {
    this.#made ??= this.#make();
    this.#made.then(
      (app) => {
        app.server.emit('connection', socket);
        socket.resume();
      },
      (err) => {
        this.#made = undefined;
        this.#logger.error({ err }, `${this.#name} cannot be loaded; it is tried again with the next client`);
        socket.destroy();
      },
    );
  }
}
