import t, { type Test } from 'tap';
import { WORKLOADS } from '../../../host/bench/choice.js';
import type { Endpoint } from '../../../host/bench/endpoint.js';
import type { Figures, Workload } from '../../../host/bench/workload.js';
import { startFarEnd } from '../../fixtures/far-end.js';
import { double, type Fault, flip, startForwarder, stopAt } from '../../fixtures/forwarder.js';
import { freePort } from '../../fixtures/free-ports.js';

/** The load beside it is a worker of its own, which takes its time to start: it is tried least. */
const BESIDE_BULK = 'latency-beside-bulk';
/** What that load transfers first, on a connection of its own. */
const WARM_UP_BYTES = 64 * 1024 * 1024;
/** No measurement lasts as long here. */
const LONG_SECONDS = 1000;

function run(workload: Workload, endpoint: Endpoint, pids = [process.pid], seconds = 0.05): Promise<Figures> {
  return workload.run({ endpoint, pids, seconds, scale: 0.01, memo: new Map() });
}

t.test('each workload measures each of its metrics', async (t) => {
  const endpoint = await startFarEnd(t);
  for (const workload of WORKLOADS) {
    const figures = await run(workload, endpoint);
    t.same(
      Object.keys(figures),
      workload.metrics.map(({ name }) => name),
      workload.name,
    );
    for (const [name, figure] of Object.entries(figures))
      t.ok(Number.isFinite(figure) && (figure > 0 || ['cpu', 'memory'].includes(name)), `${name} ${figure}`);
  }
});

t.test('what needs the processes of a rival is not measured without', async (t) => {
  const endpoint = await startFarEnd(t);
  const measured = async (name: string): Promise<Figures | undefined> => {
    const workload = WORKLOADS.find((each) => each.name === name);
    return workload && (await run(workload, endpoint, []));
  };
  t.same(Object.keys((await measured('bulk-down')) ?? {}), ['throughput']);
  t.same(await measured('idle-memory'), {});
});

t.test('bulk transfers take the bytes that fill the time, as the last run has found', async (t) => {
  const endpoint = await startFarEnd(t);
  const [bulk] = WORKLOADS;
  const MIN_BYTES = 16 * 1024 * 1024;
  const memo = new Map<string, number>();
  await bulk?.run({ endpoint, pids: [], seconds: 1e-6, scale: 1, memo });
  t.same([...memo], [['bytes', MIN_BYTES]]);
  await bulk?.run({ endpoint, pids: [], seconds: 1e-6, scale: 1, memo });
  t.same([...memo], [['bytes', MIN_BYTES]]);
});

async function rejectsEach(
  t: Test,
  workloads: readonly Workload[],
  endpoint: Endpoint,
  message: RegExp,
): Promise<void> {
  for (const workload of workloads) await t.rejects(run(workload, endpoint), message, workload.name);
}

t.test('each workload fails by what does not listen', async (t) => {
  const closed = { host: '127.0.0.1', port: await freePort() };
  await rejectsEach(t, WORKLOADS, closed, /connect ECONNREFUSED/);
});

t.test('each workload fails by what changes, cuts off or resets', async (t) => {
  const target = await startFarEnd(t);
  const workloads = WORKLOADS.filter(({ name }) => name !== BESIDE_BULK);
  const wrong = /wrong bytes arrived|not what was sent|bytes of an answer arrived/;
  const up = workloads.filter(({ name }) => name !== 'bulk-down');
  const down = workloads.filter(({ name }) => !name.startsWith('bulk-up'));
  await rejectsEach(t, up, await startForwarder(t, target, { up: flip(20) }), wrong);
  await rejectsEach(t, up, await startForwarder(t, target, { up: double(20) }), wrong);
  await rejectsEach(t, down, await startForwarder(t, target, { down: flip(100) }), wrong);
  const ending = await startForwarder(t, target, { up: stopAt(0, 'end') });
  await rejectsEach(t, workloads, ending, /ended early|arrived before the end/);
  const resetting = await startForwarder(t, target, { up: stopAt(0, 'reset') });
  await rejectsEach(t, workloads, resetting, /ECONNRESET|EPIPE/);
});

t.test('a fault that comes amid the measurement ends it', async (t) => {
  const target = await startFarEnd(t);
  const rejects = async (name: string, faults: { up?: Fault; down?: Fault }, message: RegExp) => {
    const endpoint = await startForwarder(t, target, faults);
    for (const workload of WORKLOADS.filter((each) => each.name === name))
      await t.rejects(run(workload, endpoint, [], LONG_SECONDS), message, name);
  };
  for (const name of ['latency', 'requests-64']) {
    await rejects(name, { up: stopAt(1000, 'end') }, /ended early/);
    await rejects(name, { down: flip(1000) }, /wrong bytes/);
  }
  await rejects(
    BESIDE_BULK,
    { up: stopAt(WARM_UP_BYTES + 1000, 'end') },
    /^the upload failed: .* ended early/,
  );
});
