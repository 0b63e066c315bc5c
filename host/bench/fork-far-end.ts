import { fork } from 'node:child_process';
import { once } from 'node:events';
import type net from 'node:net';
import { OperationError } from '../../protocol/errors.js';
import type { Endpoint } from './endpoint.js';

export interface RunningFarEnd {
  endpoint: Endpoint;
  stop(): void;
}

const PROGRAM = new URL('./far-end-process.js', import.meta.url);

/**
 * Starts the far end in a process of its own: the load must not wait for it.
 * @throws OperationError when it ends before it listens
 */
export async function forkFarEnd(program: URL = PROGRAM): Promise<RunningFarEnd> {
  const child = fork(program, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const ended = once(child, 'exit').then(([code]) => {
    throw new OperationError(`the far end of the benchmark ended with exit code ${code}`);
  });
  // It ends in good order, too, when nobody waits for it any more.
  ended.catch(() => {});
  const [address] = (await Promise.race([once(child, 'message'), ended])) as [net.AddressInfo];
  return { endpoint: { host: address.address, port: address.port }, stop: () => void child.kill() };
}
