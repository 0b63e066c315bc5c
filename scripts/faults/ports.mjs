import { once } from 'node:events';
import net from 'node:net';

/** Below what systems choose from for clients, and below what tests take: what is free here stays free. */
const FIRST_PORT = 7_000;
const BLOCKS = 10;
/** Of each block; the first one says whose it is. */
const BLOCK_PORTS = 290;

let block;
let next = 1;

/** A place on loopback that nothing listens on, and no other run of this script will. */
export async function freeEndpoint() {
  block ??= await ownBlock();
  for (let tried = 1; tried < BLOCK_PORTS; tried++) {
    const port = block + next;
    next = next === BLOCK_PORTS - 1 ? 1 : next + 1;
    const server = await listen(port);
    if (!server) continue;
    await new Promise((resolve) => server.close(resolve));
    return { host: '127.0.0.1', port };
  }
  throw new Error(`no port from ${block} to ${block + BLOCK_PORTS - 1} is free`);
}

/** Takes a block until this process ends. @returns its first port */
async function ownBlock() {
  for (let tried = 0; tried < BLOCKS; tried++) {
    const first = FIRST_PORT + ((process.pid + tried) % BLOCKS) * BLOCK_PORTS;
    const server = await listen(first);
    if (!server) continue;
    server.unref();
    return first;
  }
  throw new Error(`others have all ports from ${FIRST_PORT} to ${FIRST_PORT + BLOCKS * BLOCK_PORTS - 1}`);
}

/** Undefined where somebody has the port. */
async function listen(port) {
  const server = net.createServer();
  try {
    await once(server.listen({ port, host: '127.0.0.1' }), 'listening');
    return server;
  } catch {
    return undefined;
  }
}
