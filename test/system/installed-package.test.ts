import { join } from 'node:path';
import t from 'tap';
import { OLDEST_NODE } from '../../protocol/program/node-release.js';
import { forwardedPort, Program, run, startServer } from '../fixtures/programs.js';
import { shortFolder } from '../fixtures/short-folder.js';
import { installNode } from './fixtures/node-release.js';
import { install } from './fixtures/package.js';

t.test("README's commands work from the installed package on the oldest Node", async (t) => {
  const node = await installNode(t, OLDEST_NODE);
  if (node === undefined) return;
  const folder = shortFolder(t);
  const call = await install(t, folder, node);
  const start = (program: string, ...args: string[]): Program => Program.start(t, ...call(program, ...args));
  const done = async (...args: string[]): Promise<string> => {
    const [command, rest] = call('portferry', ...args);
    const { outcome, output } = await run(t, command, ...rest);
    t.equal(outcome, 0, `portferry ${args.join(' ')}: ${output}`);
    return output;
  };
  const port = await startServer(t, (socket) => void socket.end('served\n'));

  const channel = `unix:${join(folder, 'channel.sock')}`;
  const host = start('portferry', 'host', '--listen', channel, '--forward', `127.0.0.1:0:${port}`);
  start('portferry-guest', '--connect', channel, '--docker=off');
  await host.line(/the channel is up/);
  const url = `http://127.0.0.1:${await forwardedPort(host, port)}/`;
  t.match(await run(t, node, '-e', READ, url), { outcome: 0, output: 'served' });
  const exposed = await done('expose', `127.0.0.1:0:${port}`);
  t.match(exposed, /^tcp 127\.0\.0\.1:\d+ → /);
  t.match(await done('list'), new RegExp(` 127.0.0.1:${port} `));
  t.match(await done('status', '--json'), /"state": ?"connected"/);
  await done('unexpose', /127\.0\.0\.1:(\d+)/.exec(exposed)?.[1] ?? '');
  t.match(await done('dump'), /^versions /m);
  t.match(await done('service', 'print', '--platform', 'linux'), /^ExecStart=.*\/main\.js/m);
  t.equal(await host.stop(), 0);

  const up = start('portferry', 'up', '--demo');
  await up.line(/^Try it yourself/);
  t.equal(await up.stop('SIGINT'), 0);

  // The far end is a process of its own, and what keeps it busy a thread.
  const bench = await done('bench', '--quick', '--only', 'latency', '--only', 'portferry');
  t.match(bench, /portferry/);
});

/** Connects to the port of a URL, and writes what comes. */
const READ = `
  const { hostname, port } = new URL(process.argv[1]);
  require('node:net').connect(port, hostname).pipe(process.stdout);`;
