import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import t, { type Test } from 'tap';
import { describeSummary } from '../../../host/cli/capture.js';
import { portferry } from '../../../host/cli/program.js';
import { ControlClient } from '../../../host/control/client.js';
import { startControlServer } from '../../../host/control/late-server.js';
import { ForwardTable } from '../../../host/forwards/forward-table.js';
import { Records } from '../../../host/records/records.js';
import { createLogger } from '../../../protocol/program/logger.js';
import { runProgram } from '../../../protocol/program/run-program.js';
import { callProgram, type ProgramOutcome } from '../../fixtures/call-program.js';
import { fakeControlTarget } from '../../fixtures/fake-control-target.js';
import { fakeForward } from '../../fixtures/fake-forward.js';
import { run } from '../../fixtures/programs.js';
import { shortFolder } from '../../fixtures/short-folder.js';
import { CLIENT, FakeConnection } from '../capture/fixtures/captured.js';
import { readPcapng } from '../capture/fixtures/read-pcapng.js';

const MAX_CAPTURES = 8;

/** A host without sockets for clients; the test says what happens on its forward. */
class Host {
  readonly records = new Records();
  readonly folder: string;
  readonly path: string;
  readonly forward = fakeForward('127.0.0.1:8080:80');
  readonly #close: () => Promise<void>;

  private constructor(folder: string, close: () => Promise<void>) {
    this.folder = folder;
    this.path = join(folder, 'control.sock');
    this.#close = close;
  }

  static async start(t: Test): Promise<Host> {
    const logger = createLogger('silent');
    const forwards = new ForwardTable({ onClient: (socket) => socket.reset(), logger });
    const folder = shortFolder(t);
    const host: Host = new Host(folder, () => server.close());
    const captureSources = {
      version: '1.2.3',
      records: host.records,
      channel: { observe() {} },
      forwards: () => [host.forward, ...forwards.list()],
    };
    const target = { ...fakeControlTarget(forwards, host.records), captureSources };
    const server = await startControlServer(target, host.path, logger);
    t.teardown(() => forwards.close());
    t.teardown(() => server.close());
    return host;
  }

  call(...args: string[]): Promise<ProgramOutcome> {
    return callProgram(portferry, args, { PORTFERRY_RUNTIME_DIR: this.folder, HOME: this.folder });
  }

  stop(): Promise<void> {
    return this.#close();
  }

  /** Has clients come until the capture has ended, which begins at some time. */
  async connectUntil<T>(ended: Promise<T>): Promise<T> {
    let over = false;
    void ended.finally(() => {
      over = true;
    });
    while (!over) {
      new FakeConnection(this.records, this.forward, CLIENT).open().dialled().client('x').end();
      await new Promise(setImmediate);
    }
    return ended;
  }
}

t.test('a capture goes into a file, and is summed up', async (t) => {
  const host = await Host.start(t);
  const file = join(host.folder, 'a.pcapng');
  const outcome = await host.connectUntil(host.call('capture', '8080', '-w', file, '-c', '4', '--json'));
  t.match(outcome, {
    code: 0,
    stderr: new RegExp(
      `^capturing 8080 to ${file}; Ctrl-C ends it\n4 packets, \\S+ B in ${file}; none dropped: it has as many`,
    ),
  });
  t.match(JSON.parse(outcome.stdout), { file, packets: 4, dropped: 0, ending: /--count 4/ });
  t.equal(readPcapng(readFileSync(file)).packets.length, 4);
});

t.test('a capture goes to standard output, and a terminal is told how far it is', async (t) => {
  const host = await Host.start(t);
  const stdout = new PassThrough();
  const stderr = Object.assign(new PassThrough(), { isTTY: true });
  const args = ['capture', '--frames', '--write', '-', '--duration', '0.001'];
  const environment = { PORTFERRY_RUNTIME_DIR: host.folder };
  t.equal(await runProgram(portferry, { args, environment, stdout, stderr }), 0);
  t.match(readPcapng(stdout.read() as Buffer), { linkType: 154, packets: [] });
  t.match(
    String(stderr.read()),
    /^capturing frames to standard output; .*\n\r0 packets, \d+ B.*\r.*0 packets, .* the time is over/,
  );
});

t.test('a terminal is not told more often than it can be read', async (t) => {
  const host = await Host.start(t);
  const stderr = Object.assign(new PassThrough(), { isTTY: true });
  const args = ['capture', '8080', '--write', join(host.folder, 'a'), '--count', '2000'];
  const environment = { PORTFERRY_RUNTIME_DIR: host.folder };
  const stdout = new PassThrough();
  t.equal(await host.connectUntil(runProgram(portferry, { args, environment, stdout, stderr })), 0);
  t.match(String(stderr.read()), /2000 packets, /);
});

t.test('wrong usage is said before anything is asked', async (t) => {
  const host = await Host.start(t);
  const wrong: [RegExp, string[]][] = [
    [/one forward at a time: what is 81\?/, ['8080', '81', '-w', 'x']],
    [/which forward is to be captured\?/, ['-w', 'x']],
    [/where is the capture to go\?/, ['8080']],
    [/cannot both have standard output/, ['8080', '-w', '-', '--json']],
    [/--snaplen must be a whole number of at least 64/, ['8080', '-w', 'x', '-s', '1']],
    [/--extcap is for Wireshark/, ['--extcap']],
  ];
  for (const [message, args] of wrong)
    t.match(await host.call('capture', ...args), { code: 2, stderr: message });
  const stdout = Object.assign(new PassThrough(), { isTTY: true });
  const stderr = new PassThrough();
  const context = { args: ['capture', '8080', '-w', '-'], environment: {}, stdout, stderr };
  t.equal(await runProgram(portferry, context), 2);
  t.match(String(stderr.read()), /a capture is nothing for a terminal/);
});

t.test('what fails is one sentence', async (t) => {
  const host = await Host.start(t);
  const file = join(host.folder, 'a.pcapng');
  t.match(await host.call('capture', '9999', '-w', file), { code: 1, stderr: /there is no forward of 9999/ });
  t.match(await host.call('capture', '8080', '-w', host.folder), { code: 1, stderr: /is no regular file/ });
  const client = new ControlClient(host.path);
  for (const [query, message] of [
    [{ of: '8080', count: 0 }, /count must be a number from 1/],
    [{ of: '8080', frames: 'x' }, /frames must be 1 or 0/],
    [{ frames: 0 }, /which forward is to be captured/],
  ] as const)
    await t.rejects(client.capture(query), message);
  const captures = await Promise.all(
    Array.from({ length: MAX_CAPTURES }, () => client.capture({ of: '8080' })),
  );
  await t.rejects(client.capture({ of: '8080' }), /8 captures are under way/);
  const [first] = captures;
  await first?.stop();
  for await (const chunk of first?.stream ?? []) t.ok(chunk);
  await t.rejects(first?.stop() ?? Promise.resolve(), /there is no capture \d+: it has ended/);
  for (const { stream } of captures) stream.destroy();
  await host.stop();
  await t.rejects(client.capture({ of: '8080' }), /no portferry host answers/);
});

t.test('a host that does not answer is said', async (t) => {
  const path = join(shortFolder(t), 'c.sock');
  const { createServer } = await import('node:net');
  const server = createServer((socket) => t.teardown(() => socket.destroy())).listen(path);
  t.teardown(() => server.close());
  await t.rejects(new ControlClient(path, 1).capture({ of: '8080' }), /has not answered for 0.001 s/);
});

t.test('Wireshark gets its answers, and a capture through a pipe', async (t) => {
  const host = await Host.start(t);
  const ask = (...args: string[]): Promise<ProgramOutcome> => host.call('capture', '--extcap', '--', ...args);
  t.match(await ask('--extcap-interfaces'), { code: 0, stdout: /^extcap \{version=/ });
  t.match((await ask('--extcap-dlts', '--extcap-interface=x')).stdout, /^dlt /);
  const fifo = join(host.folder, 'fifo');
  await run(t, 'mkfifo', fifo);
  const taking = run(t, 'cat', fifo);
  const capture = ['--capture', '--fifo', fifo, '--extcap-interface'];
  t.match(await ask(...capture, 'portferry-frames', '--duration', '0.01'), { code: 0, stderr: '' });
  t.match(await taking, { outcome: 0 });
  const { stdout } = await host.call('expose', '127.0.0.1:0:80');
  const [, port = ''] = /127\.0\.0\.1:(\d+)/.exec(stdout) ?? [];
  const forward = run(t, 'cat', fifo);
  t.match(await ask(...capture, `portferry-127.0.0.1-${port}`, '--duration', '0.01'), {
    code: 0,
    stderr: '',
  });
  await forward;
  const other = run(t, 'cat', fifo);
  t.match(await ask(...capture, 'portferry-1'), {
    code: 1,
    stderr: /there is no forward portferry-1 any more/,
  });
  await other;
  await host.stop();
  t.match((await ask('--extcap-interfaces')).stdout, /no host is running/);
});

t.test('the extcap program is installed and removed', async (t) => {
  const host = await Host.start(t);
  const installed = await host.call('capture', '--install-extcap');
  t.match(installed, {
    code: 0,
    stdout: /^installed .*extcap\/portferry\ninstalled .*extcap\/portferry\ninstalled .*portferry.lua\n/,
  });
  t.match(readFileSync(join(host.folder, '.config/wireshark/extcap/portferry'), 'utf8'), host.path);
  t.match(await host.call('capture', '--uninstall-extcap'), { code: 0, stdout: /^(removed .*\n){3}$/ });
  t.match(await host.call('capture', '--uninstall-extcap'), { code: 0, stdout: 'nothing was installed\n' });
  writeFileSync(join(host.folder, '.config/wireshark/extcap/portferry'), '');
  t.match(await host.call('capture', '--install-extcap'), { code: 1, stderr: /is not portferry's/ });
});

t.test('what the host could not tell is not made up', (t) => {
  const summary = { packets: 1, dropped: null, bytes: 1024, seconds: 1, ending: 'the host has gone' };
  t.equal(
    describeSummary(summary, 'a'),
    '1 packet, 1.0 KiB in a; how many were dropped is not known: the host has gone',
  );
  t.match(describeSummary({ ...summary, dropped: 3 }, 'a'), '; 3 dropped: ');
  t.end();
});
