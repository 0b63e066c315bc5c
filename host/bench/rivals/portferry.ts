import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { VERSION } from '../../../protocol/program/version.js';
import { freeEndpoint, startPrograms } from './programs.js';
import type { Rival } from './rival.js';

/** How to call portferry's two programs, without their options. */
export interface PortferryPrograms {
  host: readonly [file: string, ...args: string[]];
  guest: readonly [file: string, ...args: string[]];
}

const INSTALLED: PortferryPrograms = {
  host: [process.execPath, fileURLToPath(new URL('../../main.js', import.meta.url))],
  guest: [process.execPath, fileURLToPath(new URL('../../../guest/main.js', import.meta.url))],
};

export function makePortferry({ host, guest }: PortferryPrograms = INSTALLED): Rival {
  return {
    name: 'portferry',
    setup: 'host and guest, joined by a unix socket',
    find: async () => ({ version: VERSION }),
    start: (target, folder) =>
      startPrograms(async (programs) => {
        const channel = join(folder, 'channel.sock');
        const endpoint = await freeEndpoint();
        const quiet = ['--log-level', 'fatal'];
        // The host listens for its forward only after the channel's socket is there.
        await programs.start(
          [
            ...host,
            ...['host', '--listen', `unix:${channel}`, '--control', join(folder, 'control.sock')],
            ...['--forward', `${endpoint.host}:${endpoint.port}:${target.host}:${target.port}`, ...quiet],
          ],
          endpoint,
        );
        await programs.start([...guest, '--connect', `unix:${channel}`, '--docker=off', ...quiet], endpoint);
        return endpoint;
      }),
  };
}
