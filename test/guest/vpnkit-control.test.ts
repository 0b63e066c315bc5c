import http from 'node:http';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Agent } from '../../guest/agent.js';
import { serveVpnkitControl } from '../../guest/vpnkit-control.js';
import { OperationError } from '../../protocol/errors.js';
import { LogRecorder } from '../fixtures/log-recorder.js';
import { temporaryFolder } from '../fixtures/programs.js';

function makeAgent(folder: string): Agent {
  return new Agent({
    channel: { mode: 'listen', address: { kind: 'unix', path: join(folder, 'channel.sock') } },
    version: 'test',
    allowDial: [],
    logger: new LogRecorder().logger,
  });
}

async function serve(t: Test): Promise<(method: string, resource: string) => Promise<[number, string]>> {
  const folder = temporaryFolder(t);
  const path = join(folder, 'control.sock');
  const server = await serveVpnkitControl(path, makeAgent(folder));
  t.teardown(() => server.close());
  return (method, resource) =>
    new Promise((resolve, reject) => {
      const request = http.request({ socketPath: path, method, path: resource, agent: false });
      request.on('error', reject);
      request.on('response', async (response) => {
        let text = '';
        for await (const chunk of response) text += chunk;
        resolve([response.statusCode ?? 0, text]);
      });
      request.end(method === 'GET' ? '' : '{"proto":"tcp","out_port":80,"in_port":80}');
    });
}

t.test("a guest answers vpnkit's control API as far as it can", async (t) => {
  const ask = await serve(t);
  t.same(await ask('GET', '/forwards/list'), [200, '[]']);
  t.same(await ask('GET', '/forwards/dump'), [200, 'no channel\n']);
  t.same(await ask('DELETE', '/forwards/unexpose/port'), [200, '']);
  t.same(await ask('POST', '/forwards/unexpose/pipe'), [200, '']);
});

t.test('what it cannot do is answered with a message', async (t) => {
  const ask = await serve(t);
  const [status, body] = await ask('PUT', '/forwards/expose/port');
  t.equal(status, 400);
  t.match(JSON.parse(body), { message: /ask the host/ });
  t.same(await ask('GET', '/other'), [404, '{"message":"there is no /other here"}']);
});

t.test('a path that cannot be listened on is an error', async (t) => {
  const folder = temporaryFolder(t);
  await t.rejects(serveVpnkitControl(join(folder, 'no', 'such'), makeAgent(folder)), OperationError);
});
