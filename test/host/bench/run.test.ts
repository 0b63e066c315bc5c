import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { WORKLOADS } from '../../../host/bench/choice.js';
import type { Endpoint } from '../../../host/bench/endpoint.js';
import { forkFarEnd } from '../../../host/bench/fork-far-end.js';
import { Download } from '../../../host/bench/near-end.js';
import type { Rival } from '../../../host/bench/rivals/rival.js';
import { externalRival } from '../../../host/bench/rivals/rivals.js';
import { type BenchPlan, runBench } from '../../../host/bench/run.js';
import type { RunContext } from '../../../host/bench/workload.js';
import { fakeWorkload } from '../../fixtures/bench-result.js';
import { startFarEnd } from '../../fixtures/far-end.js';
import { drop, startForwarder } from '../../fixtures/forwarder.js';
import { startServer } from '../../fixtures/programs.js';

const ENDPOINT: Endpoint = { host: '127.0.0.1', port: 1 };

/** What has happened, in order: starts, runs, stops. */
class Course {
  readonly events: string[] = [];
  /** The folder of the run, where rivals have theirs. */
  folder = '';

  readonly startFarEnd = async () => ({
    endpoint: ENDPOINT,
    stop: () => void this.events.push('far end stops'),
  });

  rival(name: string, parts: Partial<Rival> = {}): Rival {
    return {
      name,
      setup: `${name}'s`,
      find: async () => ({ version: '1.0' }),
      start: async (_target, folder) => {
        this.folder = join(folder, '..');
        return { endpoint: ENDPOINT, pids: [7], stop: async () => void this.events.push(`${name} stops`) };
      },
      ...parts,
    };
  }
}

function planOf(parts: Partial<BenchPlan>): BenchPlan {
  return {
    rivals: [],
    workloads: [],
    runs: 2,
    seconds: 3,
    scale: 1,
    deadlineMs: 60_000,
    onProgress: () => {},
    stop: new AbortController().signal,
    ...parts,
  };
}

t.test('rivals alternate run by run, after one round that does not count', async (t) => {
  const course = new Course();
  const contexts: RunContext[] = [];
  const workload = (name: string) =>
    fakeWorkload({
      name,
      run: async (context) => {
        contexts.push({ ...context, memo: new Map(context.memo) });
        const runs = (context.memo.get('runs') ?? 0) + 1;
        context.memo.set('runs', runs);
        return { runs };
      },
    });
  const plan = planOf({
    rivals: [course.rival('b'), course.rival('a')],
    workloads: [workload('first'), workload('second')],
    scale: 0.5,
    onProgress: (done, total, what) => course.events.push(`${done}/${total} ${what}`),
  });
  const { rivals, workloads } = await runBench(plan, course.startFarEnd);
  const expected = ['first', 'second'].flatMap((name) =>
    [0, 1, 2].flatMap(() => [`${name}, b`, `${name}, a`]),
  );
  t.same(
    course.events.splice(0, 12),
    expected.map((what, index) => `${index}/12 ${what}`),
  );
  t.same(course.events.sort(), ['a stops', 'b stops', 'far end stops']);
  t.same(rivals, [
    { name: 'b', setup: "b's", version: '1.0' },
    { name: 'a', setup: "a's", version: '1.0' },
  ]);
  for (const { outcomes } of workloads)
    t.same(outcomes, [
      { rival: 'b', runs: [{ runs: 2 }, { runs: 3 }] },
      { rival: 'a', runs: [{ runs: 2 }, { runs: 3 }] },
    ]);
  t.match(contexts[0], { endpoint: ENDPOINT, pids: [7], seconds: 1.5, scale: 0.5 });
  t.same(
    contexts.slice(0, 6).map(({ seconds, memo }) => [seconds, memo.get('runs')]),
    [
      [1.5, undefined],
      [1.5, undefined],
      [3, 1],
      [3, 1],
      [3, 2],
      [3, 2],
    ],
  );
  t.notOk(existsSync(course.folder));
});

t.test('rivals that are absent or do not start take no part, and say why', async (t) => {
  const course = new Course();
  const rivals = [
    course.rival('absent', { find: async () => ({ absent: 'no absent on PATH' }) }),
    course.rival('broken', { start: () => Promise.reject(new Error('it ended with exit code 1')) }),
    course.rival('present'),
  ];
  const result = await runBench(planOf({ rivals, workloads: [fakeWorkload({})] }), course.startFarEnd);
  t.same(result.rivals, [
    { name: 'absent', setup: "absent's", version: '', absent: 'no absent on PATH' },
    { name: 'broken', setup: "broken's", version: '', absent: 'it did not start: it ended with exit code 1' },
    { name: 'present', setup: "present's", version: '1.0' },
  ]);
  t.same(
    result.workloads[0]?.outcomes.map(({ rival }) => rival),
    ['present'],
  );
});

t.test('a rival that fails is not tried again in that workload, but in the next', async (t) => {
  const course = new Course();
  let runs = 0;
  const failing = fakeWorkload({
    run: async () => {
      if (++runs === 2) throw new Error('wrong bytes arrived');
      return { m: runs };
    },
  });
  const plan = planOf({ rivals: [course.rival('x')], workloads: [failing, failing], runs: 3 });
  const { workloads } = await runBench(plan, course.startFarEnd);
  t.same(
    workloads.map(({ outcomes }) => outcomes[0]),
    [
      { rival: 'x', runs: [], failed: 'wrong bytes arrived' },
      { rival: 'x', runs: [{ m: 4 }, { m: 5 }, { m: 6 }] },
    ],
  );
});

t.test('a rival is not asked for more connections than it can have', async (t) => {
  const course = new Course();
  const rivals = [course.rival('small', { maxConnections: 100 }), course.rival('large')];
  const workload = fakeWorkload({ connections: 1000, run: async () => ({ m: 1 }) });
  const outcomes = async (scale: number) =>
    (await runBench(planOf({ rivals, workloads: [workload], runs: 1, scale }), course.startFarEnd))
      .workloads[0]?.outcomes;
  t.same(await outcomes(1), [
    { rival: 'small', runs: [], skipped: 'at most 100 connections are asked of it' },
    { rival: 'large', runs: [{ m: 1 }] },
  ]);
  t.match(await outcomes(0.1), [{ runs: [{ m: 1 }] }, { runs: [{ m: 1 }] }]);
});

t.test('an interruption ends it after the present run, with everything stopped', async (t) => {
  const course = new Course();
  const stop = new AbortController();
  const workload = fakeWorkload({
    run: async () => {
      course.events.push('run');
      stop.abort();
      return {};
    },
  });
  const plan = planOf({ rivals: [course.rival('x')], workloads: [workload], stop: stop.signal });
  await t.rejects(runBench(plan, course.startFarEnd), {
    message: 'the benchmark was interrupted; nothing is reported',
  });
  t.same(course.events, ['run', 'x stops', 'far end stops']);
  t.notOk(existsSync(course.folder));
});

/** What comes out for one workload on a forwarder with the test's own endpoint. */
async function outcomeOn(t: Test, name: string, endpoint: Endpoint, deadlineMs: number): Promise<unknown> {
  const target = await startFarEnd(t);
  const { workloads } = await runBench(
    planOf({
      rivals: [externalRival('x', endpoint)],
      workloads: WORKLOADS.filter((workload) => workload.name === name),
      runs: 1,
      seconds: 0.05,
      scale: 0.001,
      deadlineMs,
    }),
    async () => ({ endpoint: target, stop: () => {} }),
  );
  return workloads[0]?.outcomes[0];
}

t.test('what hangs has failed', async (t) => {
  const silent = { host: '127.0.0.1', port: await startServer(t, (socket) => void socket.resume()) };
  for (const name of ['bulk-up', 'bulk-down', 'latency', 'requests-64', 'connections-16', 'idle-memory'])
    t.same(await outcomeOn(t, name, silent, 20), {
      rival: 'x',
      runs: [],
      failed: 'it hangs: not done after 0.02 s',
    });
  const losing = await startForwarder(t, await startFarEnd(t), { up: drop(100) });
  t.match(await outcomeOn(t, 'bulk-up', losing, 1000), { failed: 'it hangs: not done after 1 s' });
});

t.test('what fails is reported with its reason', async (t) => {
  const port = await startServer(t, (socket) => void socket.resetAndDestroy());
  t.match(await outcomeOn(t, 'latency', { host: '127.0.0.1', port }, 60_000), { failed: /ECONNRESET|EPIPE/ });
});

t.test('the far end is a process of its own', async (t) => {
  const { endpoint, stop } = await forkFarEnd();
  t.teardown(stop);
  await t.resolves(new Download(endpoint).transfer(1000));
});

t.test('without a far end there is nothing to measure', async (t) => {
  const program = new URL('../../fixtures/failing-far-end.mjs', import.meta.url);
  await t.rejects(
    runBench(planOf({}), () => forkFarEnd(program)),
    { message: 'the far end of the benchmark ended with exit code 3' },
  );
});
