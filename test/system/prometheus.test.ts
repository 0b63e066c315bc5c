import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { connect, Pair } from '../e2e/fixtures/pair.js';
import { freePort } from '../fixtures/free-ports.js';
import { Program, requireProgram, startServer } from '../fixtures/programs.js';

/** How often (ms) Prometheus is asked for what it has not scraped yet, and for how long. */
const ASK_AGAIN_MS = 250;
const MAX_ASKED = 200;

/** A host with a connection that was fine and one that failed, and a TCP port that leads to its control socket. */
async function startMeasured(t: Test): Promise<{ port: number; pair: Pair }> {
  const serverPort = await startServer(t, (socket) => socket.end('hello'));
  const nowhere = await freePort();
  const pair = await Pair.start(t, `0:${serverPort}`, `0:${nowhere}`);
  for (const guestPort of [serverPort, nowhere]) {
    const client = connect(t, await pair.port(guestPort));
    await client.outcome();
    client.socket.end();
  }
  const port = await startServer(t, (socket) => {
    const control = net.connect(pair.control).on('error', () => socket.destroy());
    socket.pipe(control).pipe(socket);
  });
  return { port, pair };
}

async function get<T>(port: number, path: string): Promise<T> {
  const [response] = (await once(http.get({ port, path, agent: false }), 'response')) as [
    http.IncomingMessage,
  ];
  let text = '';
  for await (const chunk of response) text += chunk;
  return (response.headers['content-type']?.includes('json') ? JSON.parse(text) : text) as T;
}

t.test('promtool finds nothing wrong with /metrics', async (t) => {
  const promtool = requireProgram(t, 'promtool');
  if (promtool === undefined) return;
  const { port } = await startMeasured(t);
  const text = await get<string>(port, '/metrics');
  const file = join(t.testdir(), 'metrics');
  writeFileSync(file, text);
  const check = Program.start(t, 'sh', ['-c', `exec ${promtool} check metrics < ${file}`]);
  t.equal(await check.exit(), 0, check.describe());
  t.same(check.lines, []);
});

t.test('Prometheus scrapes a host, and every query of the Grafana dashboard has an answer', async (t) => {
  const prometheus = requireProgram(t, 'prometheus');
  if (prometheus === undefined) return;
  const { port } = await startMeasured(t);
  const folder = t.testdir({
    'prometheus.yml': JSON.stringify({
      global: { scrape_interval: '1s' },
      scrape_configs: [{ job_name: 'portferry', static_configs: [{ targets: [`127.0.0.1:${port}`] }] }],
    }),
  });
  const own = await freePort();
  const program = Program.start(
    t,
    prometheus,
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${own}`,
    ],
    { endSignal: 'SIGTERM' },
  );
  await program.line(/Server is ready to receive web requests/);
  const { panels } = JSON.parse(readFileSync(new URL('../../docs/grafana.json', import.meta.url), 'utf8'));
  const queries = panels.flatMap(({ targets }: { targets: { expr: string }[] }) =>
    targets.map(({ expr }) => expr.replaceAll('$__rate_interval', '1m')),
  );
  for (const query of queries) {
    const path = `/api/v1/query?query=${encodeURIComponent(query)}`;
    let answer: { status: string; data?: { result: unknown[] } } | undefined;
    // Prometheus tells nobody when it has scraped; a rate needs two scrapes.
    for (let asked = 0; asked < MAX_ASKED && !answer?.data?.result.length; asked++) {
      if (asked > 0) await setTimeout(ASK_AGAIN_MS);
      answer = await get(own, path);
      if (answer?.status !== 'success') break;
    }
    t.equal(answer?.status, 'success', query);
    t.ok((answer?.data?.result.length ?? 0) > 0, `${query} has an answer`);
  }
});
