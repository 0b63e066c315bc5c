import { once } from 'node:events';
import net from 'node:net';

/** Below what systems choose from for clients: what is free here stays free. */
const FIRST_PORT = 7_000;
const PORTS = 2_900;

let next = process.pid % PORTS;

/** A place on loopback that nothing listens on. */
export async function freeEndpoint() {
  for (let tried = 0; tried < PORTS; tried++) {
    const endpoint = { host: '127.0.0.1', port: FIRST_PORT + (next++ % PORTS) };
    const server = net.createServer();
    try {
      await once(server.listen(endpoint), 'listening');
    } catch {
      continue;
    }
    await new Promise((resolve) => server.close(resolve));
    return endpoint;
  }
  throw new Error(`no port from ${FIRST_PORT} to ${FIRST_PORT + PORTS - 1} is free`);
}
