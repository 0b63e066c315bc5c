import t from 'tap';
import { Pair } from '../e2e/fixtures/pair.js';
import { builtCommand, Program, requireProgram, run } from '../fixtures/programs.js';
import { DockerVm } from './fixtures/docker.js';
import { withEachEngine } from './fixtures/docker-engines.js';

const PUBLISHED = 8080;

await withEachEngine(t, 'what a container publishes in the VM answers on the host', async (t, engine) => {
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  const vm = await DockerVm.start(t, { engine });
  if (!vm) return;
  await vm.publish(`${PUBLISHED}:80`, '/bin/busybox', 'httpd', '-f', '-p', '80', '-h', '/www');

  const pair = new Pair(t);
  pair.startHost('--forward', `127.0.0.1:0:${PUBLISHED}`, '--forward', `127.0.0.1:0:${PUBLISHED + 1}`);
  const [command = '', ...args] = [...vm.enter, ...builtCommand('guest/main.js'), '--connect', pair.channel];
  Program.start(t, command, args);
  await pair.up();
  const url = `http://127.0.0.1:${await pair.port(PUBLISHED)}/`;
  const { outcome, output } = await run(t, curl, '-sS', '--fail', '--max-time', '20', url);
  t.same({ outcome, output }, { outcome: 0, output: 'from the container' });

  t.equal(
    await (await pair.connect(PUBLISHED + 1)).outcome(),
    'ECONNRESET',
    'what is not published is refused',
  );
  await pair.host.line(/ECONNREFUSED/);
});
