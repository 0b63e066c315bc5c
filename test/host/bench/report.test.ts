import t from 'tap';
import {
  describeMachine,
  formatNumber,
  formatReport,
  makeReport,
  type RivalFigure,
} from '../../../host/bench/report.js';
import type { RunOutcome } from '../../../host/bench/run.js';
import { benchResult, fakeWorkload } from '../../fixtures/bench-result.js';

/** The figures of one metric. */
function figuresOf(better: 'more' | 'less', outcomes: RunOutcome[]): RivalFigure[] {
  const workload = fakeWorkload({ metrics: [{ name: 'm', unit: 'u', better }] });
  return (
    makeReport({ rivals: [], workloads: [{ workload, outcomes }] }, { runs: 1, seconds: 1, scale: 1 })
      .metrics[0]?.figures ?? []
  );
}

const runs = (...values: number[]): { m: number }[] => values.map((m) => ({ m }));

t.test('the median of an odd and of an even number of runs, and the spread', async (t) => {
  const summary = (...values: number[]) => figuresOf('more', [{ rival: 'x', runs: runs(...values) }])[0];
  t.same(summary(7), { rival: 'x', median: 7, min: 7, max: 7 });
  t.same(summary(9, 1), { rival: 'x', median: 5, min: 1, max: 9 });
  t.same(summary(100, 9, 10), { rival: 'x', median: 10, min: 9, max: 100 });
  t.same(summary(4, 30, 2, 1), { rival: 'x', median: 3, min: 1, max: 30 });
  t.same(summary(5, 1, 4, 2, 3), { rival: 'x', median: 3, min: 1, max: 5 });
});

t.test('above 1 portferry is better, whichever is better', async (t) => {
  const outcomes = [
    { rival: 'other', runs: runs(2) },
    { rival: 'portferry', runs: runs(8) },
  ];
  const advantages = (better: 'more' | 'less') =>
    figuresOf(better, outcomes).map(({ advantage }) => advantage);
  t.same(advantages('more'), [4, 1]);
  t.same(advantages('less'), [0.25, 1]);
});

t.test('no ratio to what is missing, failed, or nothing', async (t) => {
  const figures = figuresOf('less', [
    { rival: 'portferry', runs: runs(8) },
    { rival: 'zero', runs: runs(0) },
    { rival: 'negative', runs: runs(-3) },
    { rival: 'missing', runs: [{}, {}] },
    { rival: 'failed', runs: runs(1), failed: 'it hangs' },
    { rival: 'skipped', runs: [], skipped: 'too many' },
  ]);
  t.same(figures.slice(1), [
    { rival: 'zero', median: 0, min: 0, max: 0 },
    { rival: 'negative', median: -3, min: -3, max: -3 },
    { rival: 'missing' },
    { rival: 'failed', failed: 'it hangs' },
    { rival: 'skipped', skipped: 'too many' },
  ]);
  for (const ours of [[], runs(0)])
    t.equal(
      figuresOf('more', [
        { rival: 'portferry', runs: ours },
        { rival: 'other', runs: runs(1) },
      ])[1]?.advantage,
      undefined,
    );
});

t.test('says on what machine, when, and how it was measured', async (t) => {
  const report = makeReport(benchResult(), { runs: 5, seconds: 2, scale: 1 });
  t.match(report, { runs: 5, secondsPerRun: 2, rivals: benchResult().rivals });
  t.match(report.machine, { node: process.version, cpu: /\w/, os: /\w+ \d/ });
  t.ok(report.machine.cores > 0 && report.machine.memoryGiB >= 0);
  t.match(describeMachine([]), { cpu: 'unknown', cores: 0 }, 'where the OS does not tell');
  const kernels = ['5.15.49-linuxkit', '6.1.0-37-amd64', '22.6.0', 'unnamed'];
  t.same(
    kernels.map((kernel) => describeMachine([], kernel).os.replace(/^\w+/, 'OS')),
    ['OS 5.15', 'OS 6.1', 'OS 22.6', 'OS'],
  );
  t.ok(Math.abs(Date.parse(report.date) - Date.now()) < 60_000);
  t.match(
    report.metrics.map(({ workload, metric }) => `${workload} ${metric}`),
    ['bulk throughput', 'bulk cpu'],
  );
});

t.test('a quick run says how many connections it has opened', async (t) => {
  const workload = fakeWorkload({ describe: 'connections at once', connections: 10_000, counted: true });
  const described = (scale: number): string | undefined =>
    makeReport({ rivals: [], workloads: [{ workload, outcomes: [] }] }, { runs: 1, seconds: 1, scale })
      .metrics[0]?.describe;
  t.equal(described(1), '10,000 connections at once');
  t.equal(described(0.1), "1,000 connections at once (quick: of a whole run's 10,000)");
});

t.test('for people: rivals, then a table for each metric', async (t) => {
  const lines = formatReport(makeReport(benchResult(), { runs: 5, seconds: 2, scale: 1 })).split('\n');
  t.match(lines[0], /\d+ cores, \d+ GiB; .*; Node v\d/);
  t.same(lines.slice(1), [
    '5 runs of 2 s each, alternating between the rivals; median (lowest – highest)',
    '',
    'direct             no forwarder',
    'portferry          both halves; 1.2.3',
    'tortoise           slow; 0.1',
    'stone              not moving',
    'unicorn            absent: no unicorn on PATH',
    '',
    'bulk: a bulk transfer; throughput, Gbit/s (more is better)',
    '  direct                 40.0  (40.0 – 40.0)         portferry is 0.25 × as good',
    '  portferry              10.0  (9.00 – 11.0)',
    '  tortoise           0.000123  (0.000123 – 0.000123) portferry is 81300.81 × as good',
    '  stone            FAILED: it hangs',
    '',
    'bulk: a bulk transfer; cpu, CPU s/GiB (less is better)',
    '  direct           not measured',
    '  portferry             0.500  (0.250 – 0.750)',
    '  tortoise              1,234  (1,234 – 1,234)       portferry is 2467.00 × as good',
    '  stone            FAILED: it hangs',
    '',
  ]);
  const workload = fakeWorkload({});
  const skipped = { rival: 'socat', runs: [], skipped: 'at most 2' };
  const text = formatReport(
    makeReport(
      { rivals: [], workloads: [{ workload, outcomes: [skipped] }] },
      { runs: 1, seconds: 2, scale: 1 },
    ),
  );
  t.match(text, '1 run of 2 s each');
  t.match(text, '  socat            not tried: at most 2\n');
});

t.test('numbers of three digits', async (t) => {
  t.same(
    [0, 0.001234, 0.5, 1, 12.345, 999.4, 999.6, 1000, 1234.5, 9_999_999, -0.1234, -1234].map(formatNumber),
    [
      ...['0', '0.00123', '0.500', '1.00', '12.3', '999', '1,000', '1,000', '1,235', '9,999,999'],
      ...['-0.123', '-1,234'],
    ],
  );
});
