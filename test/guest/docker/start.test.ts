import { symlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { type PublishingAgent, publishDocker } from '../../../guest/docker/publisher.js';
import { DEFAULT_RULES } from '../../../guest/docker/rules.js';
import { DEBUG, LogRecorder, WARN } from '../../fixtures/log-recorder.js';
import { temporaryFolder } from '../../fixtures/programs.js';
import { EngineServer, listed } from './fixtures/engine-server.js';
import { RecordingLease } from './fixtures/recording-lease.js';

const mayDial = (): boolean => true;

t.test('the agent publishes on a lease of its own', async (t) => {
  const engine = await EngineServer.start(t);
  const networks = { bridge: { IPAddress: '127.0.0.2', Gateway: '127.0.0.1' } };
  engine.containers = [{ ...listed('a', 'web', 8080), NetworkSettings: { Networks: networks } }];
  engine.info = { Name: hostname() };
  const lease = new RecordingLease();
  const publishers: string[] = [];
  const openLease = (publisher: string): RecordingLease => {
    publishers.push(publisher);
    return lease;
  };
  const log = new LogRecorder();
  const agent: PublishingAgent = {
    hostControl: { openLease },
    mayDial: ({ proto }) => proto === 'tcp',
    onServe: undefined,
  };
  const publisher = publishDocker(
    { socket: engine.socket, rules: DEFAULT_RULES, expected: true },
    agent,
    log.logger,
  );
  t.teardown(() => publisher.stop());
  await lease.has(8080);
  t.same(publishers, ['docker']);
  t.match(
    lease.published,
    [[{ in_ip: '127.0.0.2', in_port: 80 }]],
    'the agent may dial the container itself',
  );
  agent.onServe?.();
  t.equal(engine.lists, 1, 'whoever comes to a port finds it as it was listed just now');
});

t.test('an engine that is not there is one warning', async (t) => {
  const log = new LogRecorder();
  const socket = join(temporaryFolder(t), 'docker.sock');
  const publisher = publishDocker(
    { socket, rules: DEFAULT_RULES, expected: true },
    { hostControl: { openLease: () => new RecordingLease() }, mayDial, onServe: undefined },
    log.logger,
  );
  t.match(await log.line(/no such socket/), { level: WARN });
  publisher.stop();
});

t.test('an engine that only may come is waited for without a warning', async (t) => {
  const engine = await EngineServer.start(t);
  const log = new LogRecorder();
  const socket = join(temporaryFolder(t), 'docker.sock');
  const publisher = publishDocker(
    { socket, rules: DEFAULT_RULES, expected: false },
    { hostControl: { openLease: () => new RecordingLease() }, mayDial, onServe: undefined },
    log.logger,
  );
  t.teardown(() => publisher.stop());
  t.match(await log.line(/no such socket/), { level: DEBUG });
  symlinkSync(engine.socket, socket);
  await log.line(/are published on the host/);
  t.same(
    log.lines.filter(({ level }) => level >= WARN),
    [],
  );
});
