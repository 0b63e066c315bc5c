import t from 'tap';
import {
  type DemoRequest,
  findConnection,
  formatWay,
  makeDemoRequest,
  startDemoServer,
} from '../../../host/up/demo.js';
import { fakeConnection } from '../../fixtures/control-reports.js';

t.test('one request to the demonstration’s server', async (t) => {
  const server = await startDemoServer();
  const request = await makeDemoRequest(server.port);
  t.match(request, { client: { address: '127.0.0.1' }, status: 200 });
  t.ok(request.bytes > 100);
  t.ok(request.connectedUs <= request.answeredUs && request.answeredUs <= request.doneUs);
  await server.close();
  await t.rejects(makeDemoRequest(server.port), {
    name: 'OperationError',
    message: new RegExp(`^the request through localhost:${server.port} failed: `),
  });
});

const request: DemoRequest = {
  client: { address: '127.0.0.1', port: 5555 },
  status: 200,
  bytes: 300,
  connectedUs: 100,
  answeredUs: 2000,
  doneUs: 2500,
};
const way = {
  request,
  forward: 'tcp localhost:8080',
  channel: 'unix:/c.sock',
  destination: 'tcp 127.0.0.1:80',
};

t.test('finds the connection of a request by its client', async (t) => {
  const { client, ...nameless } = fakeConnection();
  const found = findConnection([nameless, fakeConnection('127.0.0.1:4444'), fakeConnection(client)], request);
  t.same(found, fakeConnection());
  t.equal(findConnection([], request), undefined);
});

t.test('shows the way hop by hop, with the times that were recorded', async (t) => {
  const shown = formatWay({ ...way, connection: fakeConnection() });
  t.match(shown, /client +127\.0\.0\.1:5555 +0\.1 ms to connect/);
  t.match(shown, /→ host +listener tcp localhost:8080 +0\.04 ms until its stream was opened/);
  t.match(shown, /→ channel +unix:\/c\.sock, stream 4 +0\.3 ms there and back/);
  t.match(shown, /→ guest +dials tcp 127\.0\.0\.1:80 +0\.2 ms to connect to the server/);
  t.match(shown, /→ server +tcp 127\.0\.0\.1:80 +1\.23 ms from there to the first byte/);
  t.match(shown, /status 200 and 300 bytes: first byte after 2 ms, all after 2\.5 ms/);
  t.match(shown, /The host recorded besides: total 5 ms\./);
});

t.test('shows the way even if nothing was recorded', async (t) => {
  const shown = formatWay({ ...way, connection: undefined });
  t.match(shown, /→ channel +unix:\/c\.sock\n/);
  t.notMatch(shown, /recorded/);
});
