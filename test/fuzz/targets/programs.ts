import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { parseEndpoint } from '../../../host/bench/endpoint.js';
import { parsePsLine, parseStat } from '../../../host/bench/usage.js';
import { parseEventFilter } from '../../../host/control/event-filter.js';
import { parseDashboardAddress } from '../../../host/dashboard/address.js';
import { Launchd } from '../../../host/service/launchd.js';
import { commandOfPlist, launchdPlist } from '../../../host/service/launchd-plist.js';
import type { RunCommand } from '../../../host/service/run-command.js';
import type { ServiceManager } from '../../../host/service/service-manager.js';
import { Systemd } from '../../../host/service/systemd.js';
import { commandOfUnit, systemdUnit, unitName } from '../../../host/service/systemd-unit.js';
import { explainDocker } from '../../../host/up/engine/docker-failure.js';
import { UsageError } from '../../../protocol/errors.js';
import { readLines } from '../../../protocol/program/read-lines.js';
import { allow, byName, equal } from '../target.js';

const SERVICE = 'fuzzed';

/** Of a user who has a unit file that says nothing. */
const ENVIRONMENT = { HOME: homeWithUnit() };

/** What docker says is quoted, and what is to be done about it is said beside. */
const MAX_EXPLANATION = 2_000;

/** What other programs print, and files that are ours until somebody has edited them. */
export const programs = byName(
  {
    /** Arguments, one a line: what a service is installed with is what is read of its file. */
    command(text) {
      const command = ['/usr/bin/portferry', ...text.split('\n')] as const;
      const definition = { name: 'host', command, environment: {}, logPath: '/log', home: '/home/me' };
      equal(commandOfUnit(systemdUnit(definition, true)), [...command], 'another command in the unit file');
      // XML has no way to write most control characters.
      if (/[^\t\x20-\ud7ff\ue000-\ufffd]/.test(text.replaceAll('\n', ''))) return;
      equal(commandOfPlist(launchdPlist(definition, '/crash')), [...command], 'another command in the plist');
    },
    files(text) {
      commandOfPlist(text);
      commandOfUnit(text);
    },
    launchctl: (text) =>
      checkState(new Launchd({ environment: ENVIRONMENT, uid: 501, run: answering(text) })),
    systemctl: (text) => checkState(new Systemd({ environment: ENVIRONMENT, run: answering(text) })),
    ps: (text) => void parsePsLine(text),
    stat: (text) => void parseStat(text, text),
    docker(text) {
      const { length } = explainDocker('it fails', text);
      if (length > MAX_EXPLANATION) throw new Error('docker is quoted without end');
    },
    async lines(text) {
      const [cut = '', ...rest] = text;
      const pieces = rest.join('').match(new RegExp(`[^]{1,${cut.charCodeAt(0) || 1}}`, 'g')) ?? [];
      const lines: string[] = [];
      const input = Readable.from(pieces, { objectMode: false });
      readLines(input, (line) => lines.push(line));
      await new Promise((resolve) => input.on('close', resolve));
      for (const line of lines)
        if (line === '' || line.length > 1_000 || /\p{Cc}/u.test(line))
          throw new Error(`a line of a program: ${JSON.stringify(line)}`);
    },
    endpoint: (text) => void allow([UsageError], () => parseEndpoint(text)),
    dashboard: (text) => void allow([UsageError], () => parseDashboardAddress(text)),
    filter: (text) => void allow([UsageError], () => parseEventFilter(new URLSearchParams(text))),
  },
  {
    command: ['host\n--connect\nexec:ssh "a b" vm\n%h $HOME\\n\n', 'a"b\n<&amp;>\n--x=y\'z'],
    files: [
      '<key>ProgramArguments</key>\n<array><string>/a</string><string/></array>',
      'ExecStart="/a" "b\\"c" "%%"\n',
    ],
    launchctl: [
      'com.x = {\n\tstate = running\n\tpid = 123\n\tlast exit code = 78: EX_CONFIG\n}\n',
      ' 2-10:00:01\npid = 1',
    ],
    systemctl: [
      'ActiveState=active\nMainPID=77\nActiveEnterTimestampMonotonic=123456\nExecMainCode=1\nExecMainStatus=2\nResult=exit-code\n',
    ],
    ps: ['  123   1  2048   1:02.50', '1 0 5 1-00:01:02'],
    stat: ['1 (a b) S 0 1 1 0 -1 4 1 2 3 4 5 6 7 8 9\nVmRSS:    12 kB'],
    docker: ["docker: Error response from daemon: Conflict. The name is in use.\nSee 'docker run --help'.\n"],
    lines: ['\x03one\r\ntwo\n\x1b[31mthree'],
    endpoint: ['127.0.0.1:80', '[::1]:80', ':80'],
    dashboard: ['7678', 'localhost:0', '[::1]:80'],
    filter: ['types=ended,opened&forward=tcp+*:80&failures=1&traffic=1'],
  },
);

function homeWithUnit(): string {
  const home = mkdtempSync(join(tmpdir(), 'pf-'));
  process.on('exit', () => rmSync(home, { recursive: true, force: true }));
  const folder = join(home, '.config/systemd/user');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, unitName(SERVICE)), '');
  return home;
}

/** Whatever is run has written this. */
function answering(stdout: string): RunCommand {
  return async () => ({ code: 0, stdout, stderr: '' });
}

/** What is told of a service can be shown, whatever its manager says. */
async function checkState(manager: ServiceManager): Promise<void> {
  const { pid = 1, since } = await manager.state(SERVICE);
  if (!Number.isSafeInteger(pid) || pid < 1) throw new Error(`its process is ${pid}`);
  if (since !== undefined && Number.isNaN(Date.parse(since))) throw new Error(`it runs since ${since}`);
}
