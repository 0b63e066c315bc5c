import { readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { Exchange, Upload } from '../../../host/bench/near-end.js';
import type { BenchReport } from '../../../host/bench/report.js';
import type { BenchPlan, BenchResult } from '../../../host/bench/run.js';
import { makeBenchCommand } from '../../../host/cli/bench.js';
import { portferry } from '../../../host/cli/program.js';
import { type ProgramDeclaration, runProgram } from '../../../protocol/program/run-program.js';
import { benchResult } from '../../fixtures/bench-result.js';
import { callProgram, TextSink } from '../../fixtures/call-program.js';
import { freePort } from '../../fixtures/free-ports.js';
import { shortFolder } from '../../fixtures/short-folder.js';
import { parseXml } from '../../fixtures/xml.js';

/** portferry with a benchmark that measures nothing. */
function programWith(run: (plan: BenchPlan) => Promise<BenchResult>): ProgramDeclaration {
  return { ...portferry, commands: [makeBenchCommand(run)] };
}

const program = programWith(async () => benchResult());

/** The plan that these arguments make. */
async function planOf(...args: string[]): Promise<BenchPlan> {
  const plans: BenchPlan[] = [];
  await callProgram(
    programWith(async (plan) => {
      plans.push(plan);
      return benchResult();
    }),
    ['bench', ...args],
  );
  const [plan] = plans;
  if (plan) return plan;
  throw new Error('nothing was run');
}

t.test('everything, whole or quick', async (t) => {
  t.match(await planOf(), { runs: 5, seconds: 2, scale: 1, deadlineMs: 60_000 });
  t.match(await planOf('--runs', '7'), { runs: 7, seconds: 2 });
  const quick = await planOf('--quick');
  t.match(quick, { runs: 1, scale: 0.1 });
  const runs = quick.rivals.length * quick.workloads.length * 1.5;
  t.ok(Math.abs(quick.seconds * runs - 25) < 1, `${quick.seconds}`);
  t.match(await planOf('--quick', '--runs', '3', '--only', 'latency', '--only', 'direct,portferry'), {
    runs: 3,
    seconds: 1,
    rivals: [{ name: 'direct' }, { name: 'portferry' }],
    workloads: [{ name: 'latency' }],
  });
});

t.test('a report for people, and nothing else where nobody looks', async (t) => {
  const { code, stdout, stderr } = await callProgram(program, ['bench']);
  t.equal(code, 0);
  t.match(stdout, /\nunicorn +absent: no unicorn on PATH\n[\s\S]*\nbulk: a bulk transfer; cpu, /);
  t.equal(stderr, '');
});

t.test('--json prints one document', async (t) => {
  const { code, stdout, stderr } = await callProgram(program, ['bench', '--json', '--runs', '3']);
  t.match({ code, stderr }, { code: 0, stderr: '' });
  const report = JSON.parse(stdout) as BenchReport;
  t.match(report, { runs: 3, secondsPerRun: 2, rivals: benchResult().rivals });
  t.equal(report.metrics[0]?.figures[1]?.median, 10);
});

t.test('--svg writes a chart, and a report is not lost where it cannot', async (t) => {
  const path = join(shortFolder(t), 'chart.svg');
  t.match(await callProgram(program, ['bench', '--svg', path]), { code: 0, stdout: /portferry/ });
  t.equal(parseXml(readFileSync(path, 'utf8')).name, 'svg');
  t.match(await callProgram(program, ['bench', '--svg', join(path, 'x')]), {
    code: 1,
    stdout: /bulk: a bulk transfer/,
    stderr: /^portferry: cannot write the chart to .*chart\.svg\/x: ENOTDIR/,
  });
});

t.test('progress goes to standard error', async (t) => {
  const showing = programWith(async ({ onProgress }) => {
    onProgress(1, 3, 'bulk-up, direct');
    return benchResult();
  });
  t.match(await callProgram(showing, ['bench', '--json']), {
    stdout: /^\{/,
    stderr: '33 %  bulk-up, direct\n',
  });
});

t.test('when portferry itself fails the report is printed, and the exit code is 1', async (t) => {
  const failing = benchResult();
  for (const outcome of failing.workloads[0]?.outcomes ?? [])
    if (outcome.rival === 'portferry') outcome.failed = 'wrong bytes arrived';
  t.match(
    await callProgram(
      programWith(async () => failing),
      ['bench'],
    ),
    {
      code: 1,
      stdout: /portferry +FAILED: wrong bytes arrived/,
      stderr: 'portferry: portferry itself failed: bulk: wrong bytes arrived\n',
    },
  );
  const absent = benchResult();
  for (const rival of absent.rivals) if (rival.name === 'portferry') rival.absent = 'it did not start: no';
  t.match(
    await callProgram(
      programWith(async () => absent),
      ['bench', '--json'],
    ),
    {
      code: 1,
      stdout: /^\{/,
      stderr: 'portferry: portferry itself failed: it did not start: no\n',
    },
  );
});

t.test('a signal interrupts it', async (t) => {
  const interrupted = programWith(async ({ stop }) => {
    process.emit('SIGINT');
    throw new Error(`aborted: ${stop.aborted}`);
  });
  t.match(await callProgram(interrupted, ['bench']), { code: 1, stdout: '', stderr: /aborted: true/ });
});

t.test('wrong usage', async (t) => {
  const wrong: [args: string[], message: RegExp][] = [
    [['nonsense'], /bench takes no argument but serve, not 'nonsense'/],
    [['serve', 'more'], /bench takes no argument but serve, not 'serve more'/],
    [['--only', 'nonsense'], /--only nonsense: there is no such workload or rival/],
    [['--rival', 'nonsense'], /--rival nonsense: it must be NAME=HOST:PORT/],
    [['--rival', 'x=nonsense'], /'nonsense' is no HOST:PORT/],
    [['--runs', '0'], /--runs must be a whole number of at least 1/],
    [['--runs', '1.5'], /--runs must be a whole number of at least 1 and at most 1000, not "1\.5"/],
    [['serve', '--listen', 'nonsense'], /'nonsense' is no HOST:PORT/],
  ];
  for (const [args, stderr] of wrong)
    t.match(await callProgram(program, ['bench', ...args]), { code: 2, stdout: '', stderr });
});

t.test('serve says where it listens, and ends by a signal', async (t) => {
  let onListening: (text: string) => void = () => {};
  const listening = new Promise<string>((resolve) => {
    onListening = resolve;
  });
  const stdout = new TextSink((text) => onListening(text));
  const stderr = new TextSink();
  const port = await freePort();
  const args = ['bench', 'serve', '--listen', `127.0.0.1:${port}`];
  const outcome = runProgram(portferry, { args, environment: {}, stdout, stderr });
  t.equal(await listening, `the far end listens on 127.0.0.1:${port} until Ctrl-C\n`);
  const endpoint = { host: '127.0.0.1', port };
  await t.resolves(new Upload(endpoint).transfer(1000));
  t.match(await callProgram(portferry, ['bench', 'serve', '--listen', `127.0.0.1:${port}`]), {
    code: 1,
    stdout: '',
    stderr: new RegExp(`^portferry: cannot listen on 127\\.0\\.0\\.1:${port}: .*EADDRINUSE`),
  });
  process.emit('SIGTERM');
  t.equal(await outcome, 0);
  t.equal(stderr.text, '');
  await t.rejects(new Exchange(endpoint).ask(), /ECONNREFUSED/);
});

t.test('serve that is stopped while it starts ends, and what fails later is written', async (t) => {
  const { listen } = net.Server.prototype;
  t.teardown(() => {
    net.Server.prototype.listen = listen;
  });
  net.Server.prototype.listen = function (this: net.Server, options: object) {
    this.once('listening', () => {
      process.emit('SIGINT');
      setImmediate(() => this.emit('error', new Error('accept EMFILE')));
    });
    return listen.call(this, options);
  } as typeof listen;
  const args = ['bench', 'serve', '--listen', '127.0.0.1:0'];
  const written = await new Promise<string>((resolve) => {
    const context = { args, environment: {}, stdout: new TextSink(), stderr: new TextSink(resolve) };
    void runProgram(portferry, context).then((code) => t.equal(code, 0));
  });
  t.equal(written, 'bench serve: accept EMFILE\n');
});

t.test('a short benchmark, really run', async (t) => {
  const args = ['bench', '--quick', '--only', 'direct,latency', '--json'];
  const { code, stdout } = await callProgram(portferry, args);
  t.equal(code, 0);
  const { rivals, metrics } = JSON.parse(stdout) as BenchReport;
  t.match(rivals, [{ name: 'direct' }]);
  for (const { figures } of metrics) t.ok((figures[0]?.median ?? 0) > 0);
});
