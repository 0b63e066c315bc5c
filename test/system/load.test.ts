import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { Exchange } from '../../host/bench/near-end.js';
import { Program } from '../fixtures/programs.js';
import {
  comeAndGo,
  hardLimit,
  LoadedPair,
  lacks,
  open,
  residentMib,
  SERVICE_DESCRIPTORS,
  startFarEnd,
  timed,
} from './fixtures/load.js';

/** As many, and how many descriptors that takes at least. */
const CROWD = 10_000;
const CROWD_DESCRIPTORS = 12_000;
/** How many come and go beside them, and how many of those there are at any time. */
const VISITORS = 5_000;
const VISITORS_AT_ONCE = 16;

/** What launchd gives a process by itself. */
const LAUNCHD_DESCRIPTORS = 256;
/** What host/descriptors.ts makes of it for clients, where one forward listens on one address. */
const LAUNCHD_CLIENTS = 175;
const LAUNCHD_VISITORS = 2_000;
/** An answer (ms) is there within this, whatever goes on. */
const ANSWER_MS = 1_000;

const SOAK = fileURLToPath(new URL('../../scripts/soak.mjs', import.meta.url));
const SOAK_MINUTES = '0.25';

t.test('ten thousand connections at once, and others that come and go', async (t) => {
  const descriptors = Math.min(SERVICE_DESCRIPTORS, hardLimit());
  if (descriptors < CROWD_DESCRIPTORS) {
    lacks(t, `a process may have ${descriptors} descriptors here, and ${CROWD_DESCRIPTORS} are needed`);
    return;
  }
  const port = await startFarEnd(t);
  const pair = new LoadedPair(t, { descriptors, hostArgs: ['--forward', `127.0.0.1:0:${port}`] });
  await pair.start();
  const endpoint = await pair.endpoint(port);
  const pids = [pair.host, pair.guest].map(({ child }) => child.pid ?? -1);
  const before = pids.map(residentMib);
  let crowd: Exchange[] = [];
  const openMs = await timed(async () => {
    crowd = await open(endpoint, CROWD);
  });
  const kib = pids.map((pid, index) => ((residentMib(pid) - Number(before[index])) * 1024) / CROWD);
  t.equal((await pair.control.status()).channel.streams, CROWD);

  let requests = 0;
  let over = false;
  const useCrowd = async (): Promise<void> => {
    while (!over || requests < CROWD) await crowd[requests++ % CROWD]?.ask();
  };
  const using = useCrowd();
  const visitMs = await timed(() => comeAndGo(endpoint, VISITORS, VISITORS_AT_ONCE));
  over = true;
  await using;
  await Promise.all(crowd.map((exchange) => exchange.finish()));
  t.equal(await pair.counted('connections'), CROWD + VISITORS);
  t.equal(await pair.counted('failed'), 0);
  t.same(pair.warnings, []);
  t.comment(
    `${descriptors} descriptors; opened in ${openMs.toFixed(0)} ms, ${kib.map((each) => each.toFixed(2)).join(' and ')} ` +
      `KiB each in host and guest; beside them ${perSecond(VISITORS, visitMs)} came and went, and ${perSecond(requests, visitMs)} requests were answered`,
  );
});

t.test('with 256 descriptors whoever finds no room waits, and none fails', async (t) => {
  const port = await startFarEnd(t);
  const pair = new LoadedPair(t, {
    descriptors: LAUNCHD_DESCRIPTORS,
    hostArgs: ['--forward', `127.0.0.1:0:${port}`],
  });
  await pair.start();
  const endpoint = await pair.endpoint(port);
  const served = await open(endpoint, LAUNCHD_CLIENTS);
  const visits = comeAndGo(endpoint, LAUNCHD_VISITORS, 2 * LAUNCHD_CLIENTS);
  await pair.host.line(/clients wait: 175 are being served/);
  const { control } = pair;
  for (const question of [() => control.status(), () => control.forwards(), () => control.dump()]) {
    const ms = await timed(question);
    t.ok(ms < ANSWER_MS, `an answer after ${ms.toFixed(0)} ms`);
  }
  for (const exchange of served) await exchange.finish();
  await visits;
  t.equal(await pair.counted('connections'), LAUNCHD_CLIENTS + LAUNCHD_VISITORS);
  t.equal(await pair.counted('failed'), 0);
  const told = pair.warnings;
  t.ok(told.length <= 4, 'three times, and then how often more');
  t.ok(told.every((line) => line.startsWith('clients wait')));
});

t.test('memory is flat while short connections come and go at full speed', async (t) => {
  const args = [process.execPath, SOAK, '--minutes', SOAK_MINUTES, '--json'];
  const soak = Program.start(t, 'env', ['-u', 'NODE_OPTIONS', ...args]);
  t.equal(await soak.exit(), 0, soak.describe());
  const { samples: _, ...result } = JSON.parse(soak.lines.find((line) => line.startsWith('{')) ?? '{}');
  t.same(result.problems, []);
  t.comment(JSON.stringify(result));
});

function perSecond(count: number, ms: number): string {
  return `${Math.round((count * 1000) / ms)}/s`;
}
