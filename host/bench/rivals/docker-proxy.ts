import { findByVersion, programFile } from './find.js';
import { freeEndpoint, startPrograms } from './programs.js';
import type { Rival } from './rival.js';

/** dockerd's userland proxy: one hop only, on one machine. */
export const dockerProxy: Rival = {
  name: 'docker-proxy',
  setup: 'one hop, no VM boundary',
  find: () => findByVersion('docker-proxy'),
  start: (target) =>
    startPrograms(async (programs) => {
      const endpoint = await freeEndpoint();
      await programs.start(
        [
          await programFile('docker-proxy'),
          ...['-proto', 'tcp'],
          ...['-host-ip', endpoint.host, '-host-port', String(endpoint.port)],
          ...['-container-ip', target.host, '-container-port', String(target.port)],
        ],
        endpoint,
      );
      return endpoint;
    }),
};
