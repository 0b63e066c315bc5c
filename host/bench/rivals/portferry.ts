import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { VERSION } from '../../../protocol/program/version.js';
import { freePort, LOOPBACK, Programs, type Rival } from './rival.js';

const HOST = fileURLToPath(new URL('../../main.js', import.meta.url));
const GUEST = fileURLToPath(new URL('../../../guest/main.js', import.meta.url));

export const portferry: Rival = {
  name: 'portferry',
  setup: 'host and guest, joined by a unix socket',
  find: async () => ({ version: VERSION }),
  async start(target, folder) {
    const channel = join(folder, 'channel.sock');
    const endpoint = { host: LOOPBACK, port: await freePort() };
    const programs = new Programs();
    const quiet = ['--log-level', 'fatal'];
    // The host listens for its forward only after the channel's socket is there.
    await programs.start(
      [
        process.execPath,
        ...[HOST, 'host', '--listen', `unix:${channel}`, '--control', join(folder, 'control.sock')],
        ...['--forward', `${endpoint.host}:${endpoint.port}:${target.host}:${target.port}`, ...quiet],
      ],
      endpoint,
    );
    await programs.start([process.execPath, GUEST, '--connect', `unix:${channel}`, ...quiet], endpoint);
    return { endpoint, pids: programs.pids, stop: () => programs.stop() };
  },
};
