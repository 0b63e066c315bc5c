import { once } from 'node:events';
import { existsSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import t, { type Test } from 'tap';
import { freePort } from '../fixtures/free-ports.js';
import { builtCommand, Program, startServer, temporaryFolder } from '../fixtures/programs.js';
import { Pair } from './fixtures/pair.js';

/** Many times what a pipe holds, as text and as JSON. */
const FORWARDS = 20_000;
const COUNTERS = {
  connections: 0,
  active: 0,
  refused: 0,
  failed: 0,
  bytesToGuest: 0,
  bytesToHost: 0,
  dropped: 0,
};

interface FullHost {
  control: string;
  /** Resolves when it has sent an answer. */
  answered: Promise<unknown>;
}

/** Answers the control API like a host with very many forwards. */
async function startHost(t: Test): Promise<FullHost> {
  const forwards = Array.from({ length: FORWARDS }, (_, n) => ({
    id: `unix /run/${n}.sock`,
    destination: `unix /run/${n}.sock`,
    counters: COUNTERS,
    state: 'listening',
    origin: 'dynamic',
  }));
  const answer = JSON.stringify(forwards);
  let onAnswered = (): void => {};
  const answered = new Promise<void>((resolve) => {
    onAnswered = resolve;
  });
  const server = http.createServer((_request, response) => response.on('close', onAnswered).end(answer));
  const control = join(temporaryFolder(t), 'control.sock');
  server.listen(control);
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { control, answered };
}

/** Runs a shell's line in which `portferry` calls what was built. */
function runLine(t: Test, line: string): Program {
  const portferry = builtCommand('host/main.js').join(' ');
  return Program.start(t, 'sh', ['-c', line.replace('portferry', portferry)], { descriptors: ['pipe'] });
}

t.test('what a command prints arrives whole in a pipe', async (t) => {
  const { control } = await startHost(t);
  const table = runLine(t, `portferry list --control ${control} | wc -l`);
  t.equal(await table.exit(), 0);
  t.same(table.lines, [String(FORWARDS + 1)]);
  const json = runLine(t, `portferry list --json --control ${control} | cat`);
  t.equal(await json.exit(), 0);
  t.equal((JSON.parse(json.lines.join('\n')) as unknown[]).length, FORWARDS);
});

t.test('a reader that comes late is waited for', async (t) => {
  const { control, answered } = await startHost(t);
  const program = runLine(t, `portferry list --control ${control} | { read -r go <&3; wc -l; }`);
  await answered;
  (program.child.stdio[3] as Writable).end('go\n');
  t.equal(await program.exit(), 0);
  t.same(program.lines, [String(FORWARDS + 1)]);
});

t.test('a reader that goes away is no failure', async (t) => {
  const { control } = await startHost(t);
  for (const reader of ['head -n 1', 'true']) {
    const program = runLine(t, `{ portferry list --control ${control}; echo "code $?" >&2; } | ${reader}`);
    t.equal(await program.exit(), 0);
    t.ok(program.lines.includes('code 0'));
    t.match(
      program.lines.filter((line) => !/^(FORWARD|code 0)/.test(line)),
      [],
      'and not worth a word',
    );
  }
});

t.test('a full disk: a command fails and says so, and a host goes on', async (t) => {
  if (!existsSync('/dev/full')) return t.plan(0, 'there is no /dev/full');
  const { control } = await startHost(t);
  const list = runLine(t, `portferry list --control ${control} > /dev/full`);
  t.equal(await list.exit(), 1);
  t.same(list.lines, ['portferry: cannot write to standard output: ENOSPC: no space left on device, write']);
  const folder = temporaryFolder(t);
  const host = runLine(
    t,
    `exec portferry host --listen unix:${folder}/c --control ${folder}/k --forward 127.0.0.1:0:1 2> /dev/full`,
  );
  await host.line(/^tcp 127\.0\.0\.1:\d+ /);
  const status = runLine(t, `portferry status --control ${folder}/k`);
  t.equal(await status.exit(), 0);
  t.equal(await host.stop('SIGTERM'), 0);
});

t.test('host and guest go on when nobody reads their logs any more', async (t) => {
  const [port, closed] = [await startServer(t, (socket) => socket.end('hello')), await freePort()];
  const pair = await Pair.start(t, `127.0.0.1:0:${port}`, `127.0.0.1:0:${closed}`);
  for (const { child } of [pair.host, pair.guest]) child.stderr?.destroy();
  t.equal(await (await pair.connect(closed)).outcome(), 'ECONNRESET', 'of which both have something to say');
  t.equal(await (await pair.connect(port)).outcome(), 'end');
  t.equal(await pair.guest.stop('SIGTERM'), 0);
  t.equal(await pair.host.stop('SIGTERM'), 0);
});
