import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { BenchReport } from '../../host/bench/report.js';
import { requireProgram, run, startPortferry, temporaryFolder } from '../fixtures/programs.js';

/** The programs that each rival needs. */
const RIVALS: { name: string; programs: string[]; optional?: boolean }[] = [
  { name: 'direct', programs: [] },
  { name: 'portferry', programs: [] },
  { name: 'vpnkit-forwarder', programs: ['vpnkit-forwarder'], optional: true },
  { name: 'haproxy', programs: ['haproxy'] },
  { name: 'socat', programs: ['socat'] },
  { name: 'ssh', programs: ['ssh', 'sshd', 'ssh-keygen'] },
  { name: 'docker-proxy', programs: ['docker-proxy'] },
];
const WORKLOADS = [
  ...['bulk-up', 'bulk-down', 'bulk-up-8', 'latency', 'latency-beside-bulk'],
  ...['requests-64', 'connections-16', 'idle-memory', 'open-10000'],
];
/** socat is not asked for as many connections. */
const SKIPPED = ['idle-memory socat', 'open-10000 socat'];
/** Resolution of the CPU time of short runs, and memory that was there before, let these be nothing. */
const MAY_BE_NOTHING = ['cpu', 'memory'];

/** Runs a benchmark to its end, and checks that it printed one report and nothing else. */
async function bench(t: Test, ...args: string[]): Promise<BenchReport> {
  const program = startPortferry(t, 'bench', '--quick', '--json', ...args);
  t.equal(await program.exit(), 0, program.describe());
  const start = program.lines.indexOf('{');
  const document = program.lines.slice(start, program.lines.indexOf('}', start) + 1);
  const others = program.lines.filter((line) => !document.includes(line));
  t.ok(
    others.every((line) => /^\d+ % {2}\S+, \S+$/.test(line)),
    `only progress besides: ${others.join('\n')}`,
  );
  return JSON.parse(document.join('\n')) as BenchReport;
}

/** Every metric of every workload has its figure of this rival. */
function checkFigures(t: Test, { metrics }: BenchReport, name: string): void {
  for (const { workload, metric, figures } of metrics) {
    const what = `${workload}, ${metric}`;
    const { median = Number.NaN, failed, skipped } = figures.find(({ rival }) => rival === name) ?? {};
    t.equal(failed, undefined, what);
    if (SKIPPED.includes(`${workload} ${name}`)) t.ok(skipped, what);
    else if (name === 'direct' && MAY_BE_NOTHING.includes(metric)) t.ok(Number.isNaN(median), what);
    else
      t.ok(Number.isFinite(median) && (median > 0 || MAY_BE_NOTHING.includes(metric)), `${what}: ${median}`);
  }
}

t.test('a quick benchmark of everything', async (t) => {
  const chart = join(temporaryFolder(t), 'chart.svg');
  const report = await bench(t, '--runs', '1', '--svg', chart);
  t.same(
    report.rivals.map(({ name }) => name),
    RIVALS.map(({ name }) => name),
  );
  t.same([...new Set(report.metrics.map(({ workload }) => workload))], WORKLOADS);
  for (const { name, programs, optional = false } of RIVALS) {
    t.test(name, async (t) => {
      for (const program of programs) if (requireProgram(t, program, optional) === undefined) return;
      t.equal(report.rivals.find((rival) => rival.name === name)?.absent, undefined);
      checkFigures(t, report, name);
    });
  }
  t.test('the chart is well-formed', async (t) => {
    const python = requireProgram(t, 'python3', true);
    if (python === undefined) return;
    const parse = 'import sys, xml.dom.minidom as dom; print(dom.parse(sys.argv[1]).documentElement.tagName)';
    t.same(await run(t, python, '-c', parse, chart), { outcome: 0, output: 'svg' });
  });
});

t.test('a far end that is served is measured through what leads to it', async (t) => {
  const far = startPortferry(t, 'bench', 'serve', '--listen', '127.0.0.1:0');
  const [, endpoint] = await far.line(/^the far end listens on (\S+) until Ctrl-C$/);
  const report = await bench(t, '--rival', `mine=${endpoint}`, '--only', 'mine,latency,bulk-up');
  t.match(report.rivals, [{ name: 'mine', setup: `at ${endpoint}` }]);
  const [throughput] = report.metrics[0]?.figures ?? [];
  t.ok((throughput?.median ?? 0) > 0);
  t.equal(await far.stop('SIGINT'), 0);
});
