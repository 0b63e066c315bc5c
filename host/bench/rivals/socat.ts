import { join } from 'node:path';
import { findByVersion, freePort, LOOPBACK, Programs, programFile, type Rival } from './rival.js';

/** A process for each connection. */
export const socat: Rival = {
  name: 'socat',
  maxConnections: 200,
  setup: 'two hops over a unix socket, 256 KiB buffers',
  find: () => findByVersion('socat', '-V'),
  async start(target, folder) {
    const file = await programFile('socat');
    const channel = join(folder, 'channel.sock');
    const endpoint = { host: LOOPBACK, port: await freePort() };
    const programs = new Programs();
    const buffers = ['-b', '262144'];
    await programs.start(
      [
        file,
        ...buffers,
        `UNIX-LISTEN:${channel},fork,backlog=4096`,
        `TCP:${target.host}:${target.port},nodelay`,
      ],
      channel,
    );
    await programs.start(
      [
        file,
        ...buffers,
        `TCP-LISTEN:${endpoint.port},bind=${endpoint.host},fork,backlog=4096,nodelay`,
        `UNIX-CONNECT:${channel}`,
      ],
      endpoint,
    );
    return { endpoint, pids: programs.pids, stop: () => programs.stop() };
  },
};
