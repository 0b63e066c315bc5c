import t from 'tap';
import { EngineClient } from '../../guest/docker/engine.js';
import { DockerPublisher } from '../../guest/docker/publisher.js';
import { DEFAULT_RULES } from '../../guest/docker/rules.js';
import { LogRecorder, WARN } from '../fixtures/log-recorder.js';
import { RecordingLease } from '../guest/docker/fixtures/recording-lease.js';
import { BUSYBOX, DockerVm } from './fixtures/docker.js';
import { withEachEngine } from './fixtures/docker-engines.js';

/** How long a dockerd that is not stopped may take to answer, on a machine that has much else to do. */
const ANSWER_MS = 5_000;

await withEachEngine(t, 'a dockerd that is stopped keeps the ports of its containers', async (t, engine) => {
  const vm = await DockerVm.start(t, { engine });
  if (!vm) return;
  await vm.start(['--name', 'web', '-p', '8080:80'], BUSYBOX, 'sleep', '1000');
  const lease = new RecordingLease();
  const log = new LogRecorder();
  const publisher = new DockerPublisher({
    engine: new EngineClient(vm.socket, ANSWER_MS),
    lease,
    rules: DEFAULT_RULES,
    mayDial: () => true,
    logger: log.logger,
    graceMs: 1,
    staleListMs: 0,
  });
  t.teardown(() => publisher.stop());
  publisher.start();
  await lease.has(8080);

  vm.signalDaemon('SIGSTOP');
  t.teardown(() => vm.signalDaemon('SIGCONT'));
  publisher.used();
  const silent =
    /\/containers\/json: it has not answered within 5 s; what is published stays; connecting again/;
  t.match(await log.line(silent), { level: WARN });
  t.same(lease.ports, [8080]);
  t.match(lease.published.at(-1), [
    { annotation: /^container web \(.*\); the Docker engine does not answer$/ },
  ]);

  vm.signalDaemon('SIGCONT');
  await lease.until(([forward]) => /^container web \([0-9a-f]{12}\)$/.test(forward?.annotation ?? ''));
  t.same(lease.ports, [8080]);
  t.same(
    lease.published.map((forwards) => forwards.length),
    [1, 1, 1],
    'without a moment in which nothing is published',
  );
  await vm.docker('rm', '-f', 'web');
  await lease.has();
});
