import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  builtCommand,
  forwardedPort,
  Program,
  requireProgram,
  run,
  startServer,
  temporaryFolder,
} from '../fixtures/programs.js';

/** The releases that are supported, besides the one that runs the tests. */
const RELEASES = ['20', '22', '24'];
const BYTES = 32 * 1024 * 1024;
const HANDLES = new URL('../../dist/protocol/socket/handles.js', import.meta.url).href;

for (const release of RELEASES) {
  t.test(`Node ${release}: the sockets' internal interface is there, and bytes go through`, async (t) => {
    const node = await installNode(t, release);
    if (node === undefined) return;
    t.match((await run(t, node, '--version')).output, new RegExp(`^v${release}\\.`));
    const script = `import { handles } from ${JSON.stringify(HANDLES)}; console.log(handles !== null)`;
    const found = await run(t, 'env', '-u', 'NODE_OPTIONS', node, '--input-type=module', '-e', script);
    t.equal(found.output, 'true', 'without a word of warning');
    await transfer(t, node);
  });
}

/** npm's package `node` is made of such packages, one for each platform. Undefined where there is no npm. */
async function installNode(t: Test, release: string): Promise<string | undefined> {
  const npm = requireProgram(t, 'npm');
  if (npm === undefined) return undefined;
  const folder = temporaryFolder(t);
  const specifier = `node-${process.platform}-${process.arch}@${release}`;
  const installed = await run(t, npm, 'install', '--prefix', folder, '--no-save', specifier);
  const node = join(folder, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin/node');
  t.ok(existsSync(node), installed.output);
  return node;
}

/** Both programs run by that Node: a transfer up and down, and a dial that is refused. */
async function transfer(t: Test, node: string): Promise<void> {
  const folder = temporaryFolder(t);
  const channel = `unix:${join(folder, 'c')}`;
  const received = createHash('sha256');
  const answer = Buffer.alloc(BYTES, 'answer');
  const port = await startServer(t, (socket) => {
    socket.on('data', (chunk) => received.update(chunk)).on('end', () => socket.end(answer));
  });
  const host = Program.start(t, 'env', [
    ...command(node, 'host/main.js'),
    ...['host', '--listen', channel, '--control', join(folder, 'control')],
    ...['--forward', `127.0.0.1:0:${port}`],
  ]);
  Program.start(t, 'env', [...command(node, 'guest/main.js'), '--connect', channel]);
  const client = net.connect({
    host: '127.0.0.1',
    port: await forwardedPort(host, port),
    allowHalfOpen: true,
  });
  const sent = Buffer.alloc(BYTES, 'question');
  client.end(sent);
  const got = Buffer.concat(await client.toArray());
  t.ok(got.equals(answer), 'the answer arrived');
  t.equal(received.digest('hex'), createHash('sha256').update(sent).digest('hex'), 'so did the question');
}

/** How to call a built program with another Node than the one that runs the tests. */
function command(node: string, name: 'host/main.js' | 'guest/main.js'): string[] {
  const [, ...args] = builtCommand(name);
  return args.map((arg) => (arg === process.execPath ? node : arg));
}
