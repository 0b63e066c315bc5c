import t, { type Test } from 'tap';
import { Pair } from '../e2e/fixtures/pair.js';
import { freePort } from '../fixtures/free-ports.js';
import { Program, requireProgram, run } from '../fixtures/programs.js';

const STREAMS = 8;
const SECONDS = 2;
/** Far below what any machine does, and far above what a stalled stream would. */
const MIN_BYTES = 20 * 1024 * 1024;

interface Report {
  error?: string;
  intervals: { streams: { bytes: number }[] }[];
  end: { sum_received: { bytes: number } };
}

async function measure(t: Test, ...direction: string[]): Promise<void> {
  const iperf = requireProgram(t, 'iperf3');
  if (iperf === undefined) return;
  const port = await freePort();
  const server = Program.start(t, iperf, ['-s', '-B', '127.0.0.1', '-p', String(port), '--forceflush']);
  await server.line(/Server listening on/);
  const pair = await Pair.start(t, `127.0.0.1:0:${port}`);
  const hostPort = String(await pair.port(port));
  const { outcome, output } = await run(
    t,
    iperf,
    ...['-c', '127.0.0.1', '-p', hostPort, '-P', String(STREAMS), '-t', String(SECONDS), '-J', ...direction],
  );
  const report = JSON.parse(output) as Report;
  t.equal(outcome, 0, report.error ?? '');
  const { bytes } = report.end.sum_received;
  t.ok(bytes > MIN_BYTES, `${bytes} bytes`);
  const perStream = Array.from({ length: STREAMS }, (_, index) =>
    report.intervals.reduce((sum, { streams }) => sum + (streams[index]?.bytes ?? 0), 0),
  );
  t.ok(
    perStream.every((sum) => sum > 0),
    `every stream moved: ${perStream.join(', ')}`,
  );
  t.same(pair.warnings, []);
}

t.test('iperf3 from the client to the server', (t) => measure(t));
t.test('iperf3 from the server to the client', (t) => measure(t, '-R'));
