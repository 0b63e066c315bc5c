import { createHash } from 'node:crypto';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  builtCommand,
  forwardedPort,
  Program,
  run,
  startServer,
  temporaryFolder,
} from '../fixtures/programs.js';
import { installNode } from './fixtures/node-release.js';

/** The releases that are supported, by what npm has to be asked for. The first is the oldest that is. */
const RELEASES = {
  '20.19.0': /^v20\.19\.0$/,
  '20': /^v20\./,
  '22': /^v22\./,
  '24': /^v24\./,
  '26': /^v26\./,
};
const BYTES = 32 * 1024 * 1024;
const SOCKETS = new URL('../../build/protocol/socket/', import.meta.url).href;

for (const [release, version] of Object.entries(RELEASES)) {
  t.test(`Node ${release}: both kinds of socket pass their self-test, and bytes go through`, async (t) => {
    const node = await installNode(t, release);
    if (node === undefined) return;
    t.match((await run(t, node, '--version')).output, version);
    for (const flags of [[], ['--pending-deprecation']])
      t.equal(await askSockets(t, node, flags), 'true undefined undefined', 'without a word of warning');
    await transfer(t, node);
  });
}

/** What a script says of the built sockets: whether the handles are there, and the outcome of both self-tests. */
async function askSockets(t: Test, node: string, flags: string[]): Promise<string> {
  const script = `
    import { handles } from ${JSON.stringify(`${SOCKETS}handles.js`)};
    import { testSockets } from ${JSON.stringify(`${SOCKETS}self-test.js`)};
    console.log(handles !== null, await testSockets(handles), await testSockets(null));`;
  const args = ['-u', 'NODE_OPTIONS', node, ...flags, '--input-type=module', '-e', script];
  return (await run(t, 'env', ...args)).output;
}

/** Both programs run by that Node: a transfer up and down. */
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
  const guest = Program.start(t, 'env', [...command(node, 'guest/main.js'), '--connect', channel]);
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
  for (const program of [host, guest]) {
    await program.line(/"msg":"sockets: libuv's handles"/);
    t.equal(program.count(/deprecat/i), 0, 'Node warns of nothing');
  }
}

/** How to call a built program with another Node, which warns of everything that is deprecated. */
function command(node: string, name: 'host/main.js' | 'guest/main.js'): string[] {
  const [, ...args] = builtCommand(name);
  return args.flatMap((arg) => (arg === process.execPath ? [node, '--pending-deprecation'] : [arg]));
}
