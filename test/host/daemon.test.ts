import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Agent } from '../../guest/agent.js';
import { HostControl } from '../../guest/publish/host-control.js';
import { ControlClient } from '../../host/control/client.js';
import { runHost } from '../../host/daemon.js';
import { Descriptors } from '../../host/descriptors.js';
import { parseAllowExpose } from '../../host/forwards/expose-policy.js';
import type { HostOptions, ReadyReport } from '../../host/options.js';
import { parseSpec } from '../../host/rule/forward-spec.js';
import { OperationError } from '../../protocol/errors.js';
import { encodeHandshakePayload } from '../../protocol/wire/handshake.js';
import { DatagramRecorder } from '../fixtures/datagram-recorder.js';
import { chooseFreePorts, freePort, freePorts } from '../fixtures/free-ports.js';
import { takenPort } from '../fixtures/leases.js';
import { INFO, LogRecorder } from '../fixtures/log-recorder.js';
import { Peer } from '../fixtures/peer.js';
import { startServer, temporaryFolder } from '../fixtures/programs.js';
import { UdpClient } from '../fixtures/udp-echo.js';
import { Observer } from '../protocol/fixtures/observer.js';
import { Reader } from './control/fixtures/observed-host.js';

/** What Prometheus would get. */
async function scrape(controlPath: string): Promise<string> {
  const request = http.get({ socketPath: controlPath, path: '/metrics', agent: false });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  let text = '';
  for await (const chunk of response) text += chunk;
  return text;
}

interface Running {
  report: ReadyReport;
  control: ControlClient;
  log: LogRecorder;
  stop(): Promise<void>;
  abandon(): void;
}

function makeOptions(folder: string, specs: string[]): HostOptions {
  return {
    channel: { mode: 'listen', address: { kind: 'unix', path: join(folder, 'c') } },
    forwards: specs.flatMap(parseSpec),
    controlPath: join(folder, 'control'),
    stateFile: join(folder, 'state.json'),
    socketsFolder: join(folder, 'sockets'),
    dashboardTokenPath: join(folder, 'dashboard-token'),
    holdSeconds: 60,
  };
}

async function start(t: Test, options: HostOptions, run = runHost): Promise<Running> {
  const log = new LogRecorder();
  const stopping = new AbortController();
  const { promise, onReady } = readiness();
  const abandoning = new AbortController();
  const ended = run(options, {
    logger: log.logger,
    stop: stopping.signal,
    abandon: abandoning.signal,
    onReady,
  });
  const stop = async (): Promise<void> => {
    stopping.abort();
    await ended;
  };
  t.teardown(stop);
  const report = await Promise.race([promise, ended.then(() => promise)]);
  const abandon = (): void => abandoning.abort();
  return { report, control: new ControlClient(options.controlPath), log, stop, abandon };
}

function readiness(): { promise: Promise<ReadyReport>; onReady: (report: ReadyReport) => void } {
  let onReady: (report: ReadyReport) => void = () => {};
  const promise = new Promise<ReadyReport>((resolve) => {
    onReady = resolve;
  });
  return { promise, onReady };
}

t.test('UDP flows are served, and reported beside connections', async (t) => {
  const options = makeOptions(temporaryFolder(t), ['127.0.0.1:0:53/udp']);
  const { report, control, log, stop } = await start(t, options);
  const [forward] = report.forwards;
  const client = await UdpClient.connect(t, forward?.rule.proto === 'udp' ? forward.rule.hostPort : 0);
  client.send('nobody there yet');
  await log.line(/^datagrams are dropped/);
  const guest = await Peer.connect(t, options.channel.address);
  await log.line(/^the channel is up/);
  client.send('hello');
  const flow = await DatagramRecorder.accept(guest);
  await guest.until(() => flow.received.length > 0);
  t.match(await control.connections(), [{ forward: forward?.id, state: 'connected', bytesToGuest: 5 }]);
  t.match(await control.forwards(), [{ proto: 'udp', counters: { active: 1, dropped: 1 } }]);
  const stopped = stop();
  await guest.until(() => flow.end !== undefined);
  t.match(flow.end, { how: 'reset', reason: { code: 'UNEXPOSED' } });
  await stopped;
});

t.test('what its log said last is in the dump, and doctor needs no port', async (t) => {
  const options = makeOptions(temporaryFolder(t), []);
  const logTail = { lines: () => ['said'] };
  const { control } = await start(t, options, (all, context) => runHost(all, { ...context, logTail }));
  t.same((await control.dump()).log, ['said']);
  t.match(await control.health(), {
    ok: false,
    complaint: { hop: 'channel', problem: /no channel/ },
    checks: [{ name: 'channel', ok: false }, { name: 'publisher' }],
  });
});

t.test('a host listens, and tells how it is over its control socket', async (t) => {
  const options = makeOptions(temporaryFolder(t), ['127.0.0.1:0:80']);
  const { report, control, log, stop } = await start(t, options);
  t.match(report.forwards, [{ origin: 'static', addresses: [/^127\.0\.0\.1:/] }]);
  t.match(await control.status(), {
    pid: process.pid,
    forwards: 1,
    channel: { state: 'waiting', mode: 'listen', address: `unix:${join(options.controlPath, '..', 'c')}` },
  });
  t.match(
    await control.dumpText(),
    /"state": "waiting"(.|\n)*\nforward tcp 127\.0\.0\.1:.*\n0 connections .*\nno channel\nthe last 0 frames\nthe last \d+ lines of the log\n$/,
  );

  const reader = await new Reader(
    t,
    `ws+unix:${options.controlPath}:/v1/events?types=channel&traffic=1`,
  ).hello();
  const guest = await Peer.connect(t, options.channel.address);
  await log.line(/^the channel is up/);
  await reader.until(() => reader.events.length >= 3);
  t.match(reader.events.at(-1), { type: 'channel', channel: { state: 'connected' } });
  t.match(await scrape(options.controlPath), /^portferry_window_budget_free_bytes \d+$/m);
  reader.socket.close();
  await reader.until(() => reader.closed !== undefined);
  t.match(await control.status(), {
    channel: {
      state: 'connected',
      peer: { version: 'test', features: ['open-result'] },
      roundTripMs: Number,
    },
  });
  t.equal((await control.status()).channel.peer?.missing, undefined);
  const [port = 0] = report.forwards.map(({ rule }) => (rule.proto === 'tcp' ? rule.hostPort : 0));
  const client = net.connect(port, '127.0.0.1');
  t.teardown(() => client.destroy());
  const served = await guest.accept();
  t.match(await control.connections(), [{ state: 'opening', destination: 'tcp 127.0.0.1:80' }]);
  t.match(await control.dumpText(), /\n1 streams.*\n(.|\n)*stream 0 sent=/);
  served.stream.shutdown();
  client.end();
  await once(client.resume(), 'close');

  await stop();
  await guest.until(() => guest.ended !== undefined);
  t.match(guest.goAways, [{ code: 'STOPPED', message: 'the host was told to stop' }]);
  t.notOk(existsSync(options.controlPath), 'no socket is left behind');
});

t.test('a plain guest is told apart, and why it has gone is kept', async (t) => {
  const options = makeOptions(temporaryFolder(t), []);
  const { control, log } = await start(t, options);
  const plain = net.connect(join(options.controlPath, '..', 'c'));
  plain.write(encodeHandshakePayload(Buffer.alloc(0)));
  await log.line(/^the channel is up, with a plain peer/);
  const { channel } = await control.status();
  t.same(channel.peer, { version: null, features: [] });
  t.notOk('roundTripMs' in channel);
  plain.destroy();
  await log.line(/^no channel/);
  t.match(await control.status(), {
    channel: { state: 'waiting', lastError: 'the peer closed the channel' },
  });
});

t.test('what an older guest lacks is shown with the channel', async (t) => {
  const options = makeOptions(temporaryFolder(t), []);
  const { control, log } = await start(t, options);
  await Peer.connect(t, options.channel.address, ['open-result', 'ping']);
  await log.line(/^the channel is up/);
  t.match((await control.status()).channel.peer, {
    features: ['open-result', 'ping'],
    missing: /^the peer, portferry test, lacks reset .*: upgrade it/,
  });
});

t.test('a way through a real guest is diagnosed, up to its server', async (t) => {
  const served = await startServer(t, (socket) => socket.resume().on('end', () => socket.end()));
  const unserved = await freePort();
  const options = makeOptions(temporaryFolder(t), [`127.0.0.1:0:${served}`, `127.0.0.1:0:${unserved}`]);
  const { report, control, log } = await start(t, options);
  const agent = new Agent({
    channel: { mode: 'connect', address: options.channel.address },
    version: 'test',
    allowDial: [],
    logger: new LogRecorder().logger,
  });
  await agent.start();
  t.teardown(() => agent.stop());
  await log.line(/^the channel is up/);
  const [good = '', bad = ''] = report.forwards.map(({ addresses }) => addresses[0]?.split(':')[1]);
  t.match(await control.doctor(good), {
    ok: true,
    probe: { outcome: 'connected' },
    remarks: [/^the guest is portferry-guest test, and this host \d.*: upgrade the older one$/],
  });
  t.match(await control.doctor(bad), {
    ok: false,
    complaint: {
      problem: `nothing in the VM listens on 127.0.0.1:${unserved}, where tcp 127.0.0.1:${bad} leads`,
    },
    probe: { record: { ending: { code: 'ECONNREFUSED' } } },
  });
});

t.test('the guest cannot dial anything on the host', async (t) => {
  const options = makeOptions(temporaryFolder(t), []);
  await start(t, options);
  const guest = await Peer.connect(t, options.channel.address);
  const stream = guest.open({ proto: 'tcp', ip: '127.0.0.1', port: 22 });
  await guest.until(() => stream.end !== undefined);
  t.match(stream.end, { how: 'refused', result: { step: 'service', reason: { code: 'EACCES' } } });
});

t.test('the guest can ask for forwards, as far as it is allowed', async (t) => {
  const options = {
    ...makeOptions(temporaryFolder(t), []),
    allowExpose: parseAllowExpose(['127.0.0.1']) ?? [],
  };
  const { control, stop } = await start(t, options);
  const guest = await Peer.connect(t, options.channel.address);
  const guestControl = new HostControl(new LogRecorder().logger);
  guestControl.onUp(guest.multiplexer);
  const lease = guestControl.openLease('docker');
  const exposed = await lease.expose({ proto: 'tcp', out_ip: '127.0.0.1', in_port: 80 });
  await t.rejects(lease.expose({ proto: 'tcp', in_port: 80 }), { name: 'ExposeError', status: 403 });
  const taken = net.createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const { port } = taken.address() as net.AddressInfo;
  lease.publish([{ proto: 'tcp', out_ip: '127.0.0.1', out_port: port, in_port: 81 }]);
  while ((await control.status()).failedForwards === 0);
  t.match(await control.status(), { forwards: 1, failedForwards: 1 });
  t.match(await control.forwards(), [
    { out_port: exposed.out_port, publisher: 'docker' },
    { state: 'failed' },
  ]);
  t.match(await control.dumpText(), /\nlease of docker: 2 forwards\n {2}failed .*EADDRINUSE/);
  t.match(readFileSync(options.stateFile ?? '', 'utf8'), '"forwards": []', 'what is published is not kept');
  await control.unexpose([`127.0.0.1:${exposed.out_port}`]);
  t.match(await control.status(), { forwards: 0 });
  // At once: a lease is no connection that could finish.
  await stop();
  guestControl.close();
});

t.test('forwards that were exposed at run time are back after a restart', async (t) => {
  const options = makeOptions(temporaryFolder(t), []);
  const first = await start(t, options);
  const ports = await chooseFreePorts(2);
  const [kept, taken] = await first.control.expose(
    ports.map((port, index) => `127.0.0.1:${port}:${80 + index}`),
  );
  await first.stop();
  const intruder = net.createServer().listen(taken?.out_port, '127.0.0.1');
  await once(intruder, 'listening');

  const second = await start(t, options);
  t.match(second.report.forwards, [{ id: kept?.id, origin: 'runtime' }]);
  t.equal(second.report.forwards.length, 1);
  const failed = { id: taken?.id, origin: 'runtime', state: 'failed', error: /in use .*pid/ };
  t.match(await second.control.forwards(), [{ id: kept?.id, state: 'listening' }, failed]);
  t.match(await second.control.status(), {
    forwards: 1,
    failedForwards: 1,
    stateFile: { path: options.stateFile },
  });
  t.match(
    await second.control.dumpText(),
    new RegExp(`\nforward ${taken?.id} → .* failed .*: cannot listen on .*in use`),
  );
  await second.stop();
  t.match(readFileSync(options.stateFile ?? '', 'utf8'), `"out_port": ${taken?.out_port}`);

  const third = await start(t, options);
  await new Promise((resolve) => intruder.close(resolve));
  await third.log.line(/^listening on .*, for the user now$/);
  t.match(await third.control.status(), { forwards: 2, failedForwards: 0 });
  await third.stop();

  const fourth = await start(t, options);
  t.same(fourth.report.forwards.map(({ id }) => id).sort(), [kept?.id, taken?.id].sort());
});

t.test('what cannot be restored can be removed for good', async (t) => {
  const options = makeOptions(temporaryFolder(t), []);
  const first = await start(t, options);
  const taken = await takenPort(t);
  await taken.free();
  await first.control.expose([`127.0.0.1:${taken.port}:80`]);
  await first.stop();
  const intruder = net.createServer().listen(taken.port, '127.0.0.1');
  await once(intruder, 'listening');
  t.teardown(() => intruder.close());
  const second = await start(t, options);
  t.match(await second.control.unexpose([`${taken.port}`]), {
    removed: [{ state: 'failed' }],
    unmatched: [],
  });
  t.same(await second.control.forwards(), []);
  await second.stop();
  t.match(readFileSync(options.stateFile ?? '', 'utf8'), '"forwards": []');
});

t.test('a thousand forwards are restored with one save', async (t) => {
  const options = makeOptions(temporaryFolder(t), []);
  const [from = 0] = [await freePorts(1000)];
  const first = await start(t, options);
  await first.control.expose([`127.0.0.1:${from}-${from + 999}:1-1000`]);
  await first.stop();
  const second = await start(t, options);
  t.equal(second.report.forwards.length, 1000);
  t.same(
    second.log.lines.filter(({ level }) => level > INFO),
    [],
  );
});

t.test('a state file that cannot be written is refused at start', async (t) => {
  const folder = temporaryFolder(t);
  const options = {
    ...makeOptions(folder, ['127.0.0.1:0:80']),
    stateFile: join(folder, 'none', 'state.json'),
  };
  const context = { logger: new LogRecorder().logger, stop: new AbortController().signal };
  await t.rejects(runHost(options, context), {
    name: 'OperationError',
    message: /^cannot write the state file /,
  });
  await t.rejects(Peer.connect(t, options.channel.address), OperationError);
});

t.test('what cannot be saved later is told to whoever exposes, and in the status', async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'state'));
  const options = { ...makeOptions(folder, []), stateFile: join(folder, 'state', 'state.json') };
  const { control, stop } = await start(t, options);
  renameSync(join(folder, 'state'), join(folder, 'gone'));
  const problem = /cannot write the state file .*ENOENT/;
  const [exposed] = await control.expose(['127.0.0.1:0:80']);
  t.match(exposed, { state: 'listening', warning: problem });
  t.match(await control.status(), { stateFile: { path: options.stateFile, problem } });
  renameSync(join(folder, 'gone'), join(folder, 'state'));
  await stop();
  t.match(readFileSync(options.stateFile, 'utf8'), `"out_port": ${exposed?.out_port}`);
});

t.test('a state file that could not be read in whole is told in the status, and by doctor', async (t) => {
  const options = makeOptions(temporaryFolder(t), []);
  const path = String(options.stateFile);
  writeFileSync(path, '{"version":3,"forwards":[]}');
  const { control } = await start(t, options);
  const aside = { path: `${path}.version-3`, reason: /a newer portferry has written it/ };
  t.match(await control.status(), { stateFile: { path, aside } });
  t.match((await control.health()).remarks, [`that is kept as ${aside.path}`]);
});

t.test('what cannot be had at start ends the host, and leaves nothing open', async (t) => {
  const blocker = net.createServer().listen(0, '127.0.0.1');
  await once(blocker, 'listening');
  t.teardown(() => blocker.close());
  const { port } = blocker.address() as net.AddressInfo;
  const options = makeOptions(temporaryFolder(t), ['127.0.0.1:0:80', `127.0.0.1:${port}:80`]);
  const context = { logger: new LogRecorder().logger, stop: new AbortController().signal };
  await t.rejects(runHost(options, context), { message: new RegExp(`127.0.0.1:${port}: .*EADDRINUSE.*pid`) });
  await t.rejects(Peer.connect(t, options.channel.address), OperationError);
});

t.test('a host that must end at once resets its clients', async (t) => {
  const options = makeOptions(temporaryFolder(t), ['127.0.0.1:0:80']);
  const { report, abandon } = await start(t, options);
  const guest = await Peer.connect(t, options.channel.address);
  const [port = 0] = report.forwards.map(({ rule }) => (rule.proto === 'tcp' ? rule.hostPort : 0));
  const client = new Observer(net.connect(port, '127.0.0.1'));
  await guest.accept();
  abandon();
  t.equal(await client.outcome(), 'ECONNRESET');
});

t.test('a host that is told to stop before it has started does so', async (t) => {
  const { stateFile: _, ...options } = makeOptions(temporaryFolder(t), []);
  await runHost(options, { logger: new LogRecorder().logger, stop: AbortSignal.abort() });
  t.notOk(existsSync(options.controlPath));
});

t.test('clients that there are no descriptors for wait until there is room', async (t) => {
  class Few extends Descriptors {
    constructor() {
      // One listener, and four clients.
      super(60);
    }
  }
  const { runHost: run } = await t.mockImport<typeof import('../../host/daemon.js')>('../../host/daemon.js', {
    '../../host/descriptors.ts': { Descriptors: Few },
  });
  const options = makeOptions(temporaryFolder(t), ['127.0.0.1:0:80', '127.0.0.1:0:81']);
  const { report, control, log } = await start(t, options, run);
  const [first, second] = report.forwards;
  const port = first?.rule.proto === 'tcp' ? first.rule.hostPort : 0;
  for (let count = 0; count < 4; count++) {
    const socket = net.connect(port, '127.0.0.1').on('error', () => {});
    t.teardown(() => socket.destroy());
    await once(socket, 'connect');
  }
  await log.line(/^clients wait: 3 are being served/);
  t.match((await control.forwards())[0]?.counters, { connections: 3, active: 3 });
  await t.rejects(control.expose(['0:82']), { message: /2 of the 3 for listening sockets are in use/ });
  await control.unexpose([second?.addresses[0] ?? '']);
  await log.line(/^clients wait: 4 are being served/);
  t.match((await control.forwards())[0]?.counters, { connections: 4, active: 4 });
});

t.test('the dashboard listens from the start, or when somebody asks for it', async (t) => {
  const folder = temporaryFolder(t);
  const dashboard = { ip: '127.0.0.1', port: 0, orAny: false };
  const { report, control, stop } = await start(t, { ...makeOptions(folder, []), dashboard });
  const { address } = await control.dashboard();
  t.equal(address.replace(/\/#token=.*/, ''), report.dashboard);
  t.equal((await fetch(address)).status, 200);
  await stop();
  await t.rejects(fetch(address));

  const later = await start(t, makeOptions(folder, []));
  t.equal(later.report.dashboard, undefined);
  const again = await later.control.dashboard();
  t.equal(again.address.replace(/.*#/, ''), address.replace(/.*#/, ''), 'the token outlasts a restart');
});
