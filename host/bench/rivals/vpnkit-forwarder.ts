import http from 'node:http';
import { join } from 'node:path';
import { OperationError } from '../../../protocol/errors.js';
import { findByVersion, programFile } from './find.js';
import { freeEndpoint, START_TIMEOUT_MS, startPrograms } from './programs.js';
import type { Rival } from './rival.js';

const NAME = 'vpnkit-forwarder';
const OK = 200;

/** Docker Desktop's own forwarder; one program is both halves. */
export const vpnkitForwarder: Rival = {
  name: NAME,
  setup: 'both halves, joined by a unix socket',
  find: () => findByVersion(NAME),
  start: (target, folder) =>
    startPrograms(async (programs) => {
      const file = await programFile(NAME);
      const data = join(folder, 'data.sock');
      const control = join(folder, 'control.sock');
      const endpoint = await freeEndpoint();
      await programs.start([file, '-data-listen', data], data);
      await programs.start([file, '-data-connect', data, '-control-listen', control], control);
      await expose(control, {
        proto: 'tcp',
        out_ip: endpoint.host,
        out_port: endpoint.port,
        in_ip: target.host,
        in_port: target.port,
      });
      return endpoint;
    }),
};

function expose(control: string, port: Record<string, string | number>): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = http.request({
      socketPath: control,
      method: 'PUT',
      path: '/forwards/expose/port',
      headers: { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(START_TIMEOUT_MS),
    });
    request.on('error', reject);
    request.on('response', (response) => {
      response.resume();
      if (response.statusCode === OK) resolve();
      else reject(new OperationError(`${NAME} does not expose a port: status ${response.statusCode}`));
    });
    request.end(JSON.stringify(port));
  });
}
