import { findByVersion, freePort, LOOPBACK, Programs, programFile, type Rival } from './rival.js';

/** dockerd's userland proxy: one hop only, on one machine. */
export const dockerProxy: Rival = {
  name: 'docker-proxy',
  setup: 'one hop, no VM boundary',
  find: () => findByVersion('docker-proxy'),
  async start(target, _folder) {
    const endpoint = { host: LOOPBACK, port: await freePort() };
    const programs = new Programs();
    await programs.start(
      [
        await programFile('docker-proxy'),
        ...['-proto', 'tcp'],
        ...['-host-ip', endpoint.host, '-host-port', String(endpoint.port)],
        ...['-container-ip', target.host, '-container-port', String(target.port)],
      ],
      endpoint,
    );
    return { endpoint, pids: programs.pids, stop: () => programs.stop() };
  },
};
