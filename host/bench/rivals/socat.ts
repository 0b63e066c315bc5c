import { join } from 'node:path';
import { findByVersion, programFile } from './find.js';
import { freeEndpoint, startPrograms } from './programs.js';
import type { Rival } from './rival.js';

/** A process for each connection. */
export const socat: Rival = {
  name: 'socat',
  maxConnections: 200,
  setup: 'two hops over a unix socket, 256 KiB buffers',
  find: () => findByVersion('socat', '-V'),
  start: (target, folder) =>
    startPrograms(async (programs) => {
      const channel = join(folder, 'channel.sock');
      const endpoint = await freeEndpoint();
      const command = [await programFile('socat'), '-b', '262144'] as const;
      await programs.start(
        [...command, `UNIX-LISTEN:${channel},fork,backlog=4096`, `TCP:${target.host}:${target.port},nodelay`],
        channel,
      );
      await programs.start(
        [
          ...command,
          `TCP-LISTEN:${endpoint.port},bind=${endpoint.host},fork,backlog=4096,nodelay`,
          `UNIX-CONNECT:${channel}`,
        ],
        endpoint,
      );
      return endpoint;
    }),
};
