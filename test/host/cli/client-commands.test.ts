import t, { type Test } from 'tap';
import { formatDoctor, formatHealth, judgeHere } from '../../../host/cli/path.js';
import { portferry } from '../../../host/cli/program.js';
import { formatForwards, formatStatus } from '../../../host/cli/show.js';
import { startControlServer } from '../../../host/control/late-server.js';
import type { ControlTarget } from '../../../host/control/server.js';
import type { Diagnosis } from '../../../host/diagnose/diagnosis.js';
import { noCounts } from '../../../host/forwards/forward.js';
import { ForwardTable } from '../../../host/forwards/forward-table.js';
import { formatDump } from '../../../host/records/dump.js';
import { type ForwardReport, reportForward, type StatusReport } from '../../../host/records/reports.js';
import { createLogger } from '../../../protocol/program/logger.js';
import { callProgram, type ProgramOutcome } from '../../fixtures/call-program.js';
import { fakeConnection, fakeDump, fakeStatus } from '../../fixtures/control-reports.js';
import { fakeControlTarget } from '../../fixtures/fake-control-target.js';
import { fakeForward } from '../../fixtures/fake-forward.js';
import { chooseFreePorts } from '../../fixtures/free-ports.js';
import { shortFolder } from '../../fixtures/short-folder.js';
import { fakeDiagnosis } from '../diagnose/fixtures/make-path.js';

/** A host to be asked, and the command that asks it. */
async function startHost(
  t: Test,
  saveProblem?: string,
  changes: Partial<ControlTarget> = {},
): Promise<(...args: string[]) => Promise<ProgramOutcome>> {
  const logger = createLogger('silent');
  const forwards = new ForwardTable({ onClient: (socket) => socket.reset(), logger });
  const folder = shortFolder(t);
  const server = await startControlServer(
    { ...fakeControlTarget(forwards), saveProblem, ...changes },
    `${folder}/control.sock`,
    logger,
  );
  t.teardown(() => forwards.close());
  t.teardown(() => server.close());
  return (...args) => callProgram(portferry, args, { PORTFERRY_RUNTIME_DIR: folder });
}

t.test('a host that does not work, whatever port it is about', async (t) => {
  const complaint = { hop: 'channel', problem: 'there is none', advice: 'start the guest' };
  const health = async () => ({ ok: false, complaint, checks: [], remarks: [] });
  const call = await startHost(t, undefined, { diagnosis: { health } as unknown as Diagnosis });
  t.match(await call('doctor'), {
    code: 1,
    stdout: /\nthere is none\.\nWhat to do: start the guest\.\n/,
    stderr: 'portferry: this host does not work; it fails at the channel\n',
  });
});

t.test('what is carried now takes two looks', async (t) => {
  let looks = 0;
  const reportForwards = (): ForwardReport[] => {
    const report = reportForward(fakeForward());
    report.counters.active = 1;
    return [looks++ === 0 ? report : { ...report, rates: { toGuest: 2048, toHost: 0 } }];
  };
  const call = await startHost(t, undefined, { reportForwards });
  t.match(await call('list'), { code: 0, stdout: /2\.0 KiB\/s/ });
  t.equal(looks, 2);
});

t.test('expose, list and unexpose, for people', async (t) => {
  const call = await startHost(t);
  t.match(await call('list'), { code: 0, stdout: 'no forwards\n' });
  const exposed = await call('expose', '127.0.0.1:0:80', '127.0.0.1:0:81');
  t.match(exposed, { code: 0, stderr: '' });
  t.match(
    exposed.stdout,
    /^tcp 127\.0\.0\.1:\d+ → tcp 127\.0\.0\.1:80\ntcp 127\.0\.0\.1:\d+ → tcp 127\.0\.0\.1:81\n$/,
  );
  const [spec = ''] = exposed.stdout.match(/127\.0\.0\.1:\d+/) ?? [];
  t.match((await call('list')).stdout, new RegExp(`^FORWARD +DESTINATION .*\ntcp ${spec} +127.0.0.1:80 +0 `));
  t.match(await call('unexpose', spec), { code: 0, stdout: `removed tcp ${spec} → tcp 127.0.0.1:80\n` });
  t.match(await call('unexpose', spec), {
    code: 1,
    stdout: '',
    stderr: `portferry: nothing is forwarded from ${spec}\n`,
  });
});

t.test('each with --json prints one document', async (t) => {
  const call = await startHost(t);
  const json = async (...args: string[]) => JSON.parse((await call(...args, '--json')).stdout);
  const [forward] = await json('expose', '127.0.0.1:0:80');
  t.match(forward, { proto: 'tcp', out_ip: '127.0.0.1', in_port: 80 });
  t.same(await json('list'), [forward]);
  t.same(await json('status'), fakeStatus());
  t.same(await json('dump'), fakeDump());
  t.same(await json('unexpose', `127.0.0.1:${forward.out_port}`), [forward]);
});

t.test(
  'unexpose takes every address of a port, says what it has not found, and removes the rest',
  async (t) => {
    const call = await startHost(t);
    const [one = 0, two = 0] = await chooseFreePorts(2);
    await call('expose', `127.0.0.1:${one}:80`, `127.0.0.2:${one}:80`, `127.0.0.1:${two}:80`);
    const { code, stdout, stderr } = await call('unexpose', `${one}`, `127.0.0.2:${two}`, '--json');
    t.equal(code, 1);
    t.match(JSON.parse(stdout), [{ out_ip: '127.0.0.1' }, { out_ip: '127.0.0.2' }]);
    t.equal(
      stderr,
      `portferry: nothing is forwarded from 127.0.0.2:${two}; what is there: tcp 127.0.0.1:${two} → 127.0.0.1:80\n`,
    );
  },
);

t.test('what cannot be saved is a warning, said once', async (t) => {
  const call = await startHost(t, 'the disk is full');
  const exposed = await call('expose', '127.0.0.1:0:80', '127.0.0.1:0:81', '--json');
  t.match(exposed, {
    code: 0,
    stderr: 'portferry: warning: it is listened on, but will not outlast a restart: the disk is full\n',
  });
  const [{ out_port: hostPort, warning }] = JSON.parse(exposed.stdout);
  t.match(warning, /the disk is full$/);
  t.match(await call('unexpose', `${hostPort}`), {
    code: 0,
    stderr: 'portferry: warning: it is removed, but may be back after a restart: the disk is full\n',
  });
  const stateFile = { path: '/s', problem: 'cannot write it' };
  t.match(formatStatus({ ...fakeStatus(), stateFile }), /\nnot saved +cannot write it\n/);
  t.notMatch(formatStatus({ ...fakeStatus(), stateFile: { path: '/s' } }), /saved|set aside/);
  const aside = { path: '/s.version-2', reason: 'a newer portferry has written it' };
  t.match(
    formatStatus({ ...fakeStatus(), stateFile: { path: '/s', aside } }),
    /\nset aside +\/s\.version-2, a state file not read in whole: a newer portferry has written it\n/,
  );
});

t.test('the status of a host that has run since before an upgrade', async (t) => {
  const { sockets: _, ...older } = fakeStatus();
  const text = formatStatus(older as StatusReport);
  t.match(text, /\nforwards /);
  t.notMatch(text, /undefined|sockets/);
});

t.test('status and dump, for people', async (t) => {
  const call = await startHost(t);
  const { stdout } = await call('status');
  t.match(stdout, /host +portferry 1\.2\.3, pid 7, up 1 min\n/);
  t.match(stdout, /channel +connected since 2026-01-01T00:00:00\.000Z \(listen unix:\/c\.sock\)\n/);
  t.match(stdout, /guest +portferry 1\.2\.3\n/);
  t.same((await call('dump')).stdout, formatDump(fakeDump()));
});

t.test('a status with everything, and with nothing', async (t) => {
  const full = formatStatus(
    fakeStatus({
      peer: { version: null, features: [] },
      roundTripMs: 0.123,
      reconnects: 3,
      lastError: 'the guest went',
    }),
  );
  t.match(full, /guest +vpnkit-forwarder, or alike, round trip 0\.12 ms\n/);
  t.match(full, /reconnects +3\nlast error +the guest went\n/);
  const older = { version: '1.0.0', features: [], missing: 'the peer lacks ping: upgrade it to 2.0.0' };
  t.match(formatStatus(fakeStatus({ peer: older })), /upgrade +the peer lacks ping: upgrade it to 2\.0\.0\n/);
  const { peer, ...channel } = fakeStatus().channel;
  t.ok(peer);
  t.notMatch(formatStatus({ ...fakeStatus(), channel }), /guest/);
});

t.test('forwards of publishers, and why some are not listened on', async (t) => {
  const forward: ForwardReport = {
    ...{ proto: 'tcp', out_port: 80, id: 'tcp *:80', destination: 'tcp 127.0.0.1:80', createdAt: '' },
    ...{ origin: 'published', publisher: 'docker', state: 'listening', addresses: [], counters: noCounts() },
  };
  const table = formatForwards([
    forward,
    { ...forward, id: 'tcp *:81', state: 'failed', error: 'cannot listen on 0.0.0.0:81: in use' },
  ]);
  t.match(table, /^FORWARD .* STATE +FOR\ntcp \*:80 .* listening +docker\ntcp \*:81 .* failed +docker\n/);
  t.match(table, /\ntcp \*:81: cannot listen on 0\.0\.0\.0:81: in use\n$/);
  t.match(
    formatStatus({ ...fakeStatus(), failedForwards: 2 }),
    /forwards +1, and 2 that cannot be listened on \(see list\)\n/,
  );
});

t.test('failures: wrong usage even without a host, no host, and what the host says', async (t) => {
  const nowhere = `${shortFolder(t)}/none.sock`;
  for (const args of [['expose', 'x:y'], ['unexpose', 'x:y'], ['expose'], ['unexpose']])
    t.match(await callProgram(portferry, [...args, '--control', nowhere]), { code: 2, stdout: '' });
  for (const args of [
    ['expose', '1:1'],
    ['unexpose', '1'],
    ['list'],
    ['status'],
    ['dump'],
    ['dump', '--json'],
  ])
    t.match(await callProgram(portferry, [...args, '--control', nowhere]), {
      code: 1,
      stdout: '',
      stderr: `portferry: no portferry host answers on ${nowhere} (ENOENT): start it with 'portferry host' or give --control PATH\n`,
    });
  const call = await startHost(t);
  t.match(await call('expose', '192.0.2.1:0:80'), {
    code: 1,
    stderr: /this machine has no address 192\.0\.2\.1/,
  });
});

t.test('every command has help with examples', async (t) => {
  for (const { name } of portferry.commands) {
    const { code, stdout } = await callProgram(portferry, [name, '--help']);
    t.equal(code, 0);
    t.match(stdout, new RegExp(`Examples:[\\s\\S]*portferry ${name}`));
  }
  const { stdout } = await callProgram(portferry, ['--help']);
  t.match(stdout, /Exit codes: 0 done/);
  t.match(stdout.replaceAll(/\s+/g, ' '), /\[::\] every IPv6 address, \* both/);
  for (const name of ['expose', 'up'])
    t.match((await callProgram(portferry, [name, '--help'])).stdout, /\/proxy=v1[\s\S]*\/idle=SECONDS/);
});

t.test('path and doctor', async (t) => {
  const call = await startHost(t);
  t.match(await call('path', '8080'), {
    code: 0,
    stdout: /● forward .*tcp \*:8080 → tcp 172\.17\.0\.2:80/,
  });
  t.match(await call('path', 'web'), { stdout: /\? network +nobody knows\n/ });
  t.match(JSON.parse((await call('path', '8080', '--json')).stdout), { asked: 'tcp 8080' });
  const judged = await call('doctor', '8080');
  t.match(judged, {
    code: 1,
    stdout: /✗ {2}host .*\n.*\n.*\n\n127\.0\.0\.1:1 cannot be connected to: ECONNREFUSED\.\nWhat to do: /s,
    stderr: 'portferry: tcp 8080 does not work; it fails at the host\n',
  });
  t.match(JSON.parse((await call('doctor', '8080', '--json')).stdout), { ok: false, remarks: [] });
  t.match(await call('doctor', '0'), { code: 2, stderr: /there is no port 0/ });
  t.match(await call('doctor'), {
    code: 0,
    stdout:
      /^✓ {2}channel .*\n✓ {2}publisher {2}nobody in the guest asks for forwards\n\nthis host works, as far as can be seen\.\n$/,
  });
  t.match(JSON.parse((await call('doctor', '--json')).stdout), { ok: true, checks: [{ name: 'channel' }] });
  t.match(await call('path', '80', '81'), { code: 2, stderr: /one port at a time/ });
});

t.test('a host that does not work', async (t) => {
  const complaint = { hop: 'channel', problem: 'it is gone', advice: 'bring it back' };
  const checks = [{ name: 'channel', text: 'gone', ok: false } as const];
  t.equal(
    formatHealth({ ok: false, complaint, checks, remarks: ['a proxy is set'] }),
    '✗  channel  gone\n\nit is gone.\nWhat to do: bring it back.\nNote: a proxy is set.\n',
  );
});

t.test('a port that works, with what may all the same be the reason', async (t) => {
  const { complaint: _, ...well } = {
    ...(await fakeDiagnosis().doctor({ kind: 'port', proto: 'tcp', port: 8080 })),
    ok: true,
    hops: [{ name: 'host', text: 'x', seen: true, ok: true }],
    remarks: ['a proxy is set'],
    probe: { address: '', outcome: 'connected', record: fakeConnection() },
  } as const;
  t.equal(
    formatDoctor({ ...well, hops: [...well.hops], remarks: [...well.remarks] }),
    [
      '✓  host  x',
      '  a connection was tried: hold 0.04 ms, channel 0.3 ms, guestDial 0.2 ms, firstByte 1.23 ms, total 5 ms',
      '',
      'tcp 8080 works, as far as can be seen.',
      'Note: a proxy is set.',
      '',
    ].join('\n'),
  );
});

t.test("what only the user's own surroundings tell", async (t) => {
  const { complaint, ...judged } = await fakeDiagnosis().doctor({ kind: 'port', proto: 'tcp', port: 8080 });
  const hops = judged.hops.map((hop) => ({ ...hop, ok: true }));
  const well = { ...judged, ok: true, hops };
  const proxy = { http_proxy: 'http://p' };
  t.match(judgeHere(well, proxy, ['::1']), {
    ok: false,
    complaint: { hop: 'host', problem: /^localhost is ::1 on this host/ },
    hops: [
      { name: 'host', ok: false },
      { name: 'forward', ok: true },
    ],
    remarks: [/^http_proxy is set/],
  });
  t.match(judgeHere(well, {}, ['127.0.0.1']), { ok: true, complaint: undefined, remarks: [] });
  const ill = { ...judged, ...(complaint && { complaint }) };
  t.same(judgeHere(ill, {}, ['::1']), ill, 'one thing at a time');
  const [forward] = judged.path.forwards.map((one) => ({ ...one, proto: 'udp' as const }));
  const udp = { ...well, path: { ...judged.path, forwards: forward ? [forward] : [] } };
  t.same(judgeHere(udp, proxy, []).remarks, [], 'no proxy carries it');
});
