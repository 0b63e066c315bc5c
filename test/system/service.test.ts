import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { portferry } from '../../host/cli/program.js';
import { callProgram } from '../fixtures/call-program.js';
import { freePort } from '../fixtures/free-ports.js';
import { builtCommand, requireProgram, run } from '../fixtures/programs.js';
import { shortFolder } from '../fixtures/short-folder.js';

const SYSTEMD = fileURLToPath(new URL('fixtures/user-systemd.sh', import.meta.url));

/** Runs a script beside a systemd of the user. @returns what it has printed; undefined where there is no systemd */
async function withSystemd(t: Test, home: string, script: string): Promise<string | undefined> {
  for (const program of ['systemctl', 'unshare']) if (!requireProgram(t, program)) return undefined;
  const command = builtCommand('host/main.js').map((word) => `'${word}'`);
  const path = join(home, 'script.sh');
  writeFileSync(path, `set -u\nportferry() { ${command.join(' ')} "$@"; }\n${script}`);
  const { output } = await run(t, 'unshare', '--mount', SYSTEMD, home, 'bash', path);
  t.comment(output);
  return output;
}

t.test('a service of systemd, from its installation to its removal', async (t) => {
  const home = shortFolder(t);
  const port = await freePort();
  const output = await withSystemd(
    t,
    home,
    `
    portferry service install -- --forward 127.0.0.1:${port}:80 && echo installed-$?
    portferry list
    systemd-analyze --user verify "$HOME/.config/systemd/user/portferry-host.service" && echo verified
    portferry service install -- --forward 127.0.0.1:${port}:81 && portferry list
    first=$(systemctl --user show portferry-host --property=MainPID --value)
    kill -9 "$first"
    until portferry service status | grep -q 'running, pid' &&
      [ "$(systemctl --user show portferry-host --property=MainPID --value)" != "$first" ]; do :; done
    portferry list && echo started-again
    portferry service stop; portferry service status
    portferry service start; portferry service restart; portferry service status --json
    portferry service uninstall; portferry service uninstall
    systemctl --user list-unit-files 'portferry*' --no-legend | wc -l
    `,
  );
  if (output === undefined) return;
  t.match(output, /^running, pid \d+; its log is .*host\.log\ninstalled-0$/m);
  t.match(output, new RegExp(`tcp 127.0.0.1:${port} +127.0.0.1:80 `));
  t.match(output, /^verified$/m);
  t.match(output, new RegExp(`tcp 127.0.0.1:${port} +127.0.0.1:81 `), 'installed again, with other options');
  t.match(output, /^started-again$/m, 'killed, it comes back');
  t.match(
    output,
    /^stopped, until the next start or login\nservice .*\nstate +not running\nlast exit +exit code 0\n/m,
  );
  t.match(output, /the service has ended in order$/m);
  t.match(output, /"running": true/);
  t.match(output, /^removed; its log stays at .*\nit was not installed\n0$/m);
  t.notOk(existsSync(join(home, '.config/systemd/user/portferry-host.service')));
});

t.test('a service whose options have become wrong stays down, and says why', async (t) => {
  const home = shortFolder(t);
  const output = await withSystemd(
    t,
    home,
    `
    echo '{"hold": 3}' > "$HOME/host.json"
    portferry service install --name work -- --config "$HOME/host.json" && echo installed-$?
    echo '{"hodl": 3}' > "$HOME/host.json"
    portferry service restart --name work || echo failed-$?
    portferry service status --name work
    systemctl --user show portferry-host-work --property=NRestarts
    `,
  );
  if (output === undefined) return;
  t.match(output, /^installed-0$/m);
  t.match(output, /^portferry: systemd does not start the service: .*\nfailed-1$/m);
  t.match(output, /^last exit +exit code 2$/m);
  t.match(output, /fatal the service ends: portferry: unknown key "hodl"/);
  t.match(output, /^NRestarts=0$/m);
});

t.test('what launchd gets passes the parsers of property lists', async (t) => {
  const environment = {
    HOME: shortFolder(t),
    PORTFERRY_RUNTIME_DIR: shortFolder(t),
    PATH: '/a & b:/<c>',
  };
  const args = ['service', 'print', '--platform', 'darwin', '--', '--forward', '8080:80'];
  const { stdout } = await callProgram(portferry, args, environment);
  const path = join(environment.HOME, 'x.plist');
  writeFileSync(path, stdout);
  if (!requireProgram(t, 'plistutil') || !requireProgram(t, 'python3')) return;
  const binary = `${path}.binary`;
  t.match(await run(t, 'plistutil', '-i', path, '-f', 'bin', '-o', binary), { outcome: 0 });
  const script = 'import json, plistlib, sys; print(json.dumps(plistlib.load(open(sys.argv[1], "rb"))))';
  const { output } = await run(t, 'python3', '-c', script, path);
  t.equal((await run(t, 'python3', '-c', script, binary)).output, output, 'both parsers read the same');
  const found = JSON.parse(output);
  t.match(found, {
    Label: 'dev.portferry.host',
    EnvironmentVariables: { PATH: environment.PATH },
    RunAtLoad: true,
    KeepAlive: { SuccessfulExit: false },
    SoftResourceLimits: { NumberOfFiles: 65_536 },
  });
  t.same(found.ProgramArguments.slice(-3), ['--', '--forward', '8080:80']);
  t.equal(found.ProgramArguments[0], process.execPath);
  t.ok(found.ExitTimeOut > 10 && found.ThrottleInterval >= 10);
  t.equal(readFileSync(path, 'utf8'), stdout);
});
