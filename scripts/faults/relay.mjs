// What the channel passes through where it is to be hurt: bytes both ways, until they are cut or held.
import { once } from 'node:events';
import net from 'node:net';

export class Relay {
  #sockets = new Set();
  #frozen = new Set();
  #server;

  /** @param from where it listens @param to where it leads: each what net.connect() takes */
  constructor(from, to) {
    this.from = from;
    this.#server = net.createServer({ allowHalfOpen: true }, (near) => {
      const far = net.connect({ ...to, allowHalfOpen: true });
      this.#pass(near, far);
      this.#pass(far, near);
    });
  }

  async open() {
    this.#server.listen(this.from);
    await once(this.#server, 'listening');
  }

  /** Breaks all that goes through it; over TCP that is a reset. */
  cut() {
    for (const socket of this.#sockets) {
      if (socket.remoteAddress) socket.resetAndDestroy();
      else socket.destroy();
    }
  }

  /** Lets nothing through any more on the connections that there are, and tells nobody. New ones work. */
  freeze() {
    this.#frozen = new Set(this.#sockets);
    for (const socket of this.#frozen) socket.pause();
  }

  close() {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #pass(from, to) {
    this.#sockets.add(from);
    from.on('data', (bytes) => {
      if (!to.write(bytes)) from.pause();
    });
    to.on('drain', () => {
      if (!this.#frozen.has(from)) from.resume();
    });
    from.on('end', () => to.end());
    from.on('error', () => {});
    from.on('close', () => {
      this.#sockets.delete(from);
      // Where it is frozen nobody hears of an end either.
      if (!this.#frozen.has(from)) to.destroy();
    });
  }
}
