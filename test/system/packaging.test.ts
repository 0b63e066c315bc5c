import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { Pair } from '../e2e/fixtures/pair.js';
import { freePort } from '../fixtures/free-ports.js';
import { Program, requireProgram, run } from '../fixtures/programs.js';
import { shortFolder } from '../fixtures/short-folder.js';
import { BUSYBOX, DockerVm, must } from './fixtures/docker.js';
import { copyGuestProgram } from './fixtures/guest-programs.js';

const PACKAGING = fileURLToPath(new URL('../../guest/packaging/', import.meta.url));
const SYSTEMD = fileURLToPath(new URL('fixtures/user-systemd.sh', import.meta.url));
const OPENRC = fileURLToPath(new URL('fixtures/openrc.sh', import.meta.url));
const UNIT = 'portferry-guest.service';
/** How often the list is looked at, each time by a new process, before its lacking a forward is a failure. */
const MAX_LOOKS = 50;
/** For what the script below waits for. */
const DEADLINE_SECONDS = 60;

const read = (name: string): string => readFileSync(join(PACKAGING, name), 'utf8');

/** Without comments and empty lines, which may differ. */
const meaning = (text: string): string[] => text.split('\n').filter((line) => !/^(#.*)?$/.test(line));

/** The service of linuxkit.yml. */
interface LinuxKitService {
  image: string;
  net: string;
  capabilities: string[];
  readonly: boolean;
  tmpfs: string[];
  binds: string[];
  env: string[];
}

t.test("the guest runs as systemd's unit says, and wrong options are no restart loop", async (t) => {
  for (const name of ['systemctl', 'systemd-analyze', 'unshare'])
    if (requireProgram(t, name) === undefined) return;
  const home = shortFolder(t);
  const program = copyGuestProgram('portferry-guest', home);
  const units = join(home, '.config/systemd/user');
  mkdirSync(units, { recursive: true });
  // Where a test may put things; all else is as it stands there.
  const unit = read(UNIT)
    .replaceAll('/usr/local/bin/portferry-guest', program)
    .replaceAll('/etc/portferry/guest.env', join(home, 'guest.env'));
  writeFileSync(join(units, UNIT), unit);
  writeFileSync(
    join(home, 'guest.env'),
    `PORTFERRY_LISTEN=unix:${join(home, 'channel.sock')}\nPORTFERRY_DOCKER=off\n`,
  );
  const script = join(home, 'script.sh');
  writeFileSync(
    script,
    `
    systemd-analyze verify ${join(units, UNIT)} && echo verified
    systemctl --user daemon-reload
    systemctl --user start ${UNIT} && echo started
    until [ -S ${join(home, 'channel.sock')} ]; do systemctl --user is-active ${UNIT} >/dev/null; done
    first=$(systemctl --user show ${UNIT} --property=MainPID --value)
    kill -9 "$first"
    until pid=$(systemctl --user show ${UNIT} --property=MainPID --value) &&
      [ "$pid" != 0 ] && [ "$pid" != "$first" ]; do :; done
    echo started-again
    stat --format 'runtime folder %a' "$XDG_RUNTIME_DIR/portferry"
    systemctl --user show ${UNIT} --property=LimitNOFILE
    systemctl --user stop ${UNIT}
    systemctl --user show ${UNIT} --property=Result
    echo PORTFERRY_LISTEN=nonsense > ${join(home, 'guest.env')}
    systemctl --user start ${UNIT}
    until [ "$(systemctl --user is-failed ${UNIT})" = failed ]; do :; done
    systemctl --user show ${UNIT} --property=NRestarts
    `,
  );
  const { output } = await run(
    t,
    ...['env', '-u', 'NODE_OPTIONS', 'unshare', '--mount', SYSTEMD, home],
    ...['timeout', String(DEADLINE_SECONDS), 'bash', script],
  );
  t.comment(output);
  t.match(output, /^verified\nstarted\nstarted-again\nruntime folder 700\n/m);
  t.match(output, /^LimitNOFILE=65536$/m);
  t.match(output, /^Result=success\nNRestarts=\d+$/m);
  const restarts = /NRestarts=(\d+)$/.exec(output)?.[1];
  t.equal(restarts, '0', 'wrong options are tried once');
});

t.test('the script of OpenRC is one that a shell can read', async (t) => {
  const path = join(PACKAGING, 'portferry-guest.openrc');
  t.match(await run(t, 'sh', '-n', path), { outcome: 0, output: '' });
  const called = await run(
    t,
    'sh',
    '-c',
    `need() { echo "need $*"; }; after() { echo "after $*"; }; checkpath() { echo "checkpath $*"; }
     . ${path}; depend; start_pre; echo "$supervisor $command"`,
  );
  t.equal(
    called.output,
    [
      'need localmount',
      'after net docker',
      'checkpath --directory --mode 0700 /run/portferry',
      'supervise-daemon /usr/local/bin/portferry-guest',
    ].join('\n'),
  );
});

t.test('OpenRC runs the guest by that script, and wrong options are given up', async (t) => {
  if (process.getuid?.() !== 0) return t.plan(0, 'a root folder of its own needs root');
  if (requireProgram(t, 'unshare') === undefined) return;
  const folder = shortFolder(t);
  const files = await openRcFiles(t, folder);
  if (files === undefined) return;
  const root = join(folder, 'root');
  mkdirSync(root);
  const script = join(folder, 'script');
  writeFileSync(
    script,
    `
    log=/var/log/portferry-guest.log socket=/run/portferry/channel.sock
    service() { /etc/init.d/portferry-guest "$@" </dev/null >/tmp/output 2>&1; code=$?; grep 'status:' /tmp/output; echo "$1 $code"; }
    options() { echo "export PORTFERRY_DOCKER=off PORTFERRY_LISTEN=$1" >/etc/conf.d/portferry-guest; }
    # So many guests have come to listen so far.
    until_guest() { until [ "$(grep -c 'waiting for the channel' $log)" = "$1" ]; do :; done 2>/dev/null; }
    options unix:$socket
    service status
    service start; until_guest 1
    service status
    stat --format 'runtime folder %a' /run/portferry
    service restart; until_guest 2
    kill -9 "$(pgrep -x portferry-guest)"; until_guest 3
    echo started again
    service status
    service stop
    pgrep -x portferry-guest || echo no guest
    [ -e $socket ] || echo no socket
    service status
    options nonsense
    service start
    # Its name is longer than the 15 characters that the kernel keeps.
    while pgrep -x supervise-daemo >/dev/null; do :; done
    echo "tried $(grep -c nonsense $log) times"
    service status
    `,
  );
  const enter = ['unshare', '--mount', '--pid', '--fork', '--kill-child', OPENRC];
  const guest = copyGuestProgram('portferry-guest', folder);
  const { output } = await run(
    t,
    ...['timeout', String(DEADLINE_SECONDS)],
    ...[...enter, root, files, guest, join(PACKAGING, 'portferry-guest.openrc'), script],
  );
  t.same(output.split('\n'), [
    ...[' * status: stopped', 'status 3', 'start 0', ' * status: started', 'status 0'],
    ...['runtime folder 700', 'restart 0', 'started again', ' * status: started', 'status 0'],
    ...['stop 0', 'no guest', 'no socket', ' * status: stopped', 'status 3'],
    ...['start 0', 'tried 11 times', ' * status: stopped', 'status 3'],
  ]);
});

/** What is in Debian's packages of OpenRC, which are not installed; without it the test is skipped. */
async function openRcFiles(t: Test, folder: string): Promise<string | undefined> {
  for (const name of ['apt-get', 'dpkg-deb'])
    if (requireProgram(t, name, true) === undefined) return undefined;
  const files = join(folder, 'files');
  const { outcome, output } = await run(
    t,
    'sh',
    '-c',
    'cd "$1" && apt-get -o APT::Sandbox::User=root download openrc librc1 libeinfo1 && for package in *.deb; do dpkg-deb -x "$package" files; done',
    'sh',
    folder,
  );
  if (outcome === 0) return files;
  t.plan(0, `the package openrc cannot be had: ${output}`);
  return undefined;
}

t.test("LinuxKit's service publishes containers' ports with the rights it has, and no others", async (t) => {
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  const [service] = (parse(read('linuxkit.yml')) as { services: [LinuxKitService] }).services;
  const vm = await DockerVm.start(t);
  if (!vm) return;
  const base = await makeBase(vm);
  const image = service.image.replace(/:.*/, '');
  const context = join(vm.folder, 'context');
  mkdirSync(join(context, 'dist'), { recursive: true });
  copyGuestProgram('portferry-guest', join(context, 'dist'));
  cpSync(join(PACKAGING, 'Dockerfile'), join(context, 'Dockerfile'));
  const build = ['build', '--build-arg', `BASE=${base}`, '-t', image, context];
  await must(t, 'env', 'DOCKER_BUILDKIT=0', 'docker', '-H', `unix://${vm.socket}`, ...build);

  const pair = new Pair(t);
  pair.startHost();
  const capabilities = service.capabilities.map((name) => `--cap-add=${name}`);
  const environment = service.env.map((variable) =>
    variable.startsWith('PORTFERRY_CONNECT=') ? `PORTFERRY_CONNECT=${pair.channel}` : variable,
  );
  t.same(service.binds, ['/var/run:/var/run'], 'it is given the folder of the sockets');
  const [command = '', ...enter] = vm.enter;
  const guest = Program.start(
    t,
    command,
    [
      ...[...enter, 'docker', '-H', `unix://${vm.socket}`, 'run', '--name', 'guest', '--rm'],
      ...['--cap-drop=ALL', ...capabilities, '--security-opt', 'no-new-privileges'],
      ...(service.readonly ? ['--read-only'] : []),
      ...service.tmpfs.map((path) => `--tmpfs=${path}:exec`),
      ...[`--network=${service.net}`, '-v', `${vm.folder}:/var/run`, '-v', `${pair.folder}:${pair.folder}`],
      ...environment.map((variable) => `--env=${variable}`),
      image,
    ],
    { endSignal: 'SIGTERM' },
  );
  await pair.up();
  await guest.line(/"resetsAtDeath":true/);
  const port = await freePort();
  await vm.publish(`127.0.0.1:${port}:80`, BUSYBOX, 'httpd', '-f', '-p', '80', '-h', '/www');
  let listed: string[] = [];
  for (let look = 0; look < MAX_LOOKS && !listed.some((line) => line.includes(`:${port} `)); look++)
    listed = (await pair.run('list')).lines;
  t.match(listed.join('\n'), `tcp 127.0.0.1:${port} `);
  const fetched = await run(t, curl, '-sS', '--fail', '--max-time', '20', `http://127.0.0.1:${port}/`);
  t.same(fetched, { outcome: 0, output: 'from the container' });
  await vm.docker('stop', 'guest');
  t.equal(await guest.exit(), 0, 'it stops in good order');
});

/** In the place of the base image, which only a registry has: the libraries that the executable needs. */
async function makeBase(vm: DockerVm): Promise<string> {
  const root = join(vm.folder, 'base');
  const program = copyGuestProgram('portferry-guest', vm.folder);
  const listed = await must(t, 'ldd', program);
  for (const [path] of listed.matchAll(/\/\S+\.so\S*/g)) {
    mkdirSync(join(root, path, '..'), { recursive: true });
    cpSync(path, join(root, path), { dereference: true });
  }
  const archive = join(vm.folder, 'base.tar');
  await must(t, 'tar', '-C', root, '-cf', archive, '.');
  await vm.docker('import', archive, 'portferry-base');
  return 'portferry-base';
}

t.test('the files for cloud-init and Lima are what those read', async (t) => {
  const text = read('cloud-init.yaml');
  t.match(text, /^#cloud-config\n/, 'by its first line cloud-init knows it');
  const { write_files: files } = parse(text) as { write_files: { path: string; content: string }[] };
  const unit = files.find(({ path }) => path.endsWith(UNIT));
  t.same(meaning(unit?.content ?? ''), meaning(read(UNIT)), 'its unit is the one of this folder');
  const lima = parse(read('lima.yaml')) as { provision: { script: string }[] };
  for (const { script } of lima.provision)
    t.match(await run(t, 'sh', '-nc', script), { outcome: 0, output: '' });
  for (const { mounts } of [parse(text), lima] as { mounts?: unknown[] }[]) t.equal(mounts?.length, 1);
  t.ok(existsSync(join(PACKAGING, 'Dockerfile.dockerignore')));
});
