import { join } from 'node:path';
import type { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { Agent } from '../../../guest/agent.js';
import { ControlClient } from '../../../host/control/client.js';
import { runHost } from '../../../host/daemon.js';
import type { ReadyReport } from '../../../host/options.js';
import { parseSpec } from '../../../host/rule/forward-spec.js';
import { connect } from '../../e2e/fixtures/pair.js';
import { LogRecorder } from '../../fixtures/log-recorder.js';
import { startServer, temporaryFolder } from '../../fixtures/programs.js';
import { startEcho, UdpClient } from '../../fixtures/udp-echo.js';
import { type ReadCapture, readPcapng, readSegment } from './fixtures/read-pcapng.js';

async function read(stream: Readable): Promise<ReadCapture> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return readPcapng(Buffer.concat(chunks));
}

/** A host in this process, which is stopped by the test, and a way to start its guest. */
async function startHost(
  t: Test,
  ...specs: string[]
): Promise<{
  ports: number[];
  control: ControlClient;
  startGuest(): Promise<void>;
  stop(): Promise<void>;
}> {
  const folder = temporaryFolder(t);
  const address = { kind: 'unix', path: join(folder, 'c') } as const;
  const controlPath = join(folder, 'control');
  const log = new LogRecorder();
  const stopping = new AbortController();
  let ended: Promise<void> = Promise.resolve();
  const report = await new Promise<ReadyReport>((resolve) => {
    const options = {
      channel: { mode: 'listen', address } as const,
      forwards: specs.flatMap(parseSpec),
      ...{ controlPath, socketsFolder: join(folder, 'sockets'), holdSeconds: 60 },
      dashboardTokenPath: join(folder, 'token'),
    };
    ended = runHost(options, { logger: log.logger, stop: stopping.signal, onReady: resolve });
  });
  const stop = async (): Promise<void> => {
    stopping.abort();
    await ended;
  };
  t.teardown(stop);
  return {
    ports: report.forwards.map(({ rule }) => (rule.proto === 'unix' ? 0 : rule.hostPort)),
    control: new ControlClient(controlPath),
    startGuest: async () => {
      const channel = { mode: 'connect', address } as const;
      const agent = new Agent({ channel, version: 'test', allowDial: [], logger: new LogRecorder().logger });
      await agent.start();
      t.teardown(() => agent.stop());
      await log.line(/^the channel is up/);
    },
    stop,
  };
}

t.test('what passes through a host is captured: connections, flows and frames', async (t) => {
  const server = await startServer(t, (socket) => socket.pipe(socket));
  const echo = await startEcho(t);
  const { ports, control, startGuest, stop } = await startHost(
    t,
    `127.0.0.1:0:${server}`,
    `127.0.0.1:0:${echo.port}/udp`,
  );
  const [tcp = 0, udp = 0] = ports;
  const first = await control.capture({ frames: 1 });
  const frames = read(first.stream);
  await startGuest();
  const captures = [
    await control.capture({ of: String(tcp) }),
    await control.capture({ of: `${udp}/udp` }),
    await control.capture({ frames: 1 }),
  ];
  const reads = captures.map(({ stream }) => read(stream));
  const client = connect(t, tcp);
  client.socket.end('hello');
  await client.until(() => client.closed);
  const flow = await UdpClient.connect(t, udp);
  flow.send('question');
  await flow.answers(1);
  await stop();
  const [connection, datagrams, later] = (await Promise.all(reads)) as [
    ReadCapture,
    ReadCapture,
    ReadCapture,
  ];
  const payloads = ({ packets }: ReadCapture): string[] =>
    packets.map(({ bytes }) => String(readSegment(bytes).payload)).filter((text) => text !== '');
  t.same(payloads(connection), ['hello', 'hello']);
  t.match(connection.packets.at(-1)?.comments, [/^connection \d+ ended: --/]);
  t.same(payloads(datagrams), ['question', 'question']);
  t.match(datagrams.endComments, ['the host has stopped', /^flow \d+ ended: .* UNEXPOSED/]);
  const all = await frames;
  t.equal(all.packets.filter(({ bytes }) => bytes[2] === 0).length, 2, 'both handshakes');
  t.equal(later.packets.filter(({ bytes }) => bytes[2] === 0).length, 0);
  t.same(later.packets[0]?.comments, [
    'the channel was up before this capture: its handshakes are not in it',
  ]);
  t.ok(all.packets.length > later.packets.length || later.packets.length > 5);
});
