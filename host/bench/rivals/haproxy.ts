import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findByVersion, programFile } from './find.js';
import { freeEndpoint, startPrograms } from './programs.js';
import type { Rival } from './rival.js';

/** Splices in the kernel, has no framing and a connection of its own for each client: an upper bound. */
export const haproxy: Rival = {
  name: 'haproxy',
  // By itself it takes as many as half the descriptors it may have, and lets further ones wait without end.
  maxConnections: 9_000,
  setup: 'two hops over a unix socket, splice',
  find: () => findByVersion('haproxy', '-v'),
  start: (target, folder) =>
    startPrograms(async (programs) => {
      const file = await programFile('haproxy');
      const channel = join(folder, 'channel.sock');
      const endpoint = await freeEndpoint();
      const guest = await writeConfig(folder, 'guest', `unix@${channel}`, `${target.host}:${target.port}`);
      const host = await writeConfig(folder, 'host', `${endpoint.host}:${endpoint.port}`, `unix@${channel}`);
      await programs.start([file, '-db', '-f', guest], channel);
      await programs.start([file, '-db', '-f', host], endpoint);
      return endpoint;
    }),
};

async function writeConfig(folder: string, name: string, bind: string, server: string): Promise<string> {
  const path = join(folder, `${name}.cfg`);
  await writeFile(
    path,
    `global
  nbthread 1
defaults
  mode tcp
  option splice-request
  option splice-response
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen forward
  bind ${bind} backlog 4096
  server far ${server}
`,
  );
  return path;
}
