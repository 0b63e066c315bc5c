import { lookup } from 'node:dns/promises';
import { OperationError, UsageError } from '../../protocol/errors.js';
import { defineCommand } from '../../protocol/program/run-program.js';
import type { DoctorReport } from '../diagnose/diagnosis.js';
import type { Complaint } from '../diagnose/evidence.js';
import type { HealthReport } from '../diagnose/health.js';
import { localhostElsewhere } from '../diagnose/localhost.js';
import { parsePathQuestion } from '../diagnose/path.js';
import { remarksOnProxy } from '../diagnose/remarks.js';
import { CLIENT_OPTIONS, makeClient } from './control-option.js';
import { formatMicroseconds, formatTable, writeJson } from './output.js';
import { drawPath } from './path-picture.js';

const OPERANDS = {
  name: 'port',
  describe: 'A port of this host, such as 8080 or 53/udp, or the name of a container',
};

export const pathCommand = defineCommand({
  name: 'path',
  describe: 'Show the whole way of a port, from the listener on this host to the process in its container',
  operands: { ...OPERANDS, required: true },
  options: CLIENT_OPTIONS,
  examples: [
    ['$0 path 8080', 'as a picture, hop by hop'],
    ['$0 path web', 'that of the container web'],
    ['$0 path 53/udp --json', 'one object'],
  ],
  async run({ control, json }, operands, { stdout, environment }) {
    const path = await makeClient(control, environment).pathOf(readOne(operands));
    if (json) writeJson(stdout, path);
    else stdout.write(drawPath(path));
  },
});

export const doctorCommand = defineCommand({
  name: 'doctor',
  describe: 'Say why a port does not answer: looks at every hop, and tries a connection',
  operands: { ...OPERANDS, describe: `${OPERANDS.describe}; without it the host itself`, required: false },
  options: CLIENT_OPTIONS,
  examples: [
    ['$0 doctor 8080', 'each hop, what is wrong, and what to do'],
    ['$0 doctor 8080 --json', 'one object'],
    ['$0 doctor', 'the channel, the publishers, and every forward that has failed lately'],
  ],
  epilogue: 'Exit code 0: the port, or the host, works; 1: it does not, and the last lines say why.',
  async run({ control, json }, operands, { stdout, environment }) {
    const client = makeClient(control, environment);
    const of = operands.length === 0 ? undefined : readOne(operands);
    const [judged, localhost] = await Promise.all([
      of === undefined ? client.health() : client.doctor(of),
      lookup('localhost', { all: true }).catch(() => []),
    ]);
    const report =
      'checks' in judged
        ? { ...judged, remarks: [...judged.remarks, ...remarksOnProxy(environment)] }
        : judgeHere(
            judged,
            environment,
            localhost.map(({ address }) => address),
          );
    if (json) writeJson(stdout, report);
    else stdout.write('checks' in report ? formatHealth(report) : formatDoctor(report));
    if (!report.complaint) return;
    const what = 'checks' in report ? 'this host' : report.asked;
    throw new OperationError(`${what} does not work; it fails at the ${report.complaint.hop}`);
  },
});

/**
 * Adds what only the user's own surroundings tell: where localhost leads, and which proxy is asked.
 * @param localhost the addresses that it resolves to
 */
export function judgeHere(
  judged: DoctorReport,
  environment: NodeJS.ProcessEnv,
  localhost: readonly string[],
): DoctorReport {
  const complaint = judged.complaint ?? localhostElsewhere(judged.path, localhost);
  const isTcp = judged.path.forwards.every(({ proto }) => proto === 'tcp');
  return {
    ...judged,
    ...(complaint && {
      ok: false,
      complaint,
      hops: judged.ok
        ? judged.hops.map((hop) => (hop.name === complaint.hop ? { ...hop, ok: false } : hop))
        : judged.hops,
    }),
    remarks: [...judged.remarks, ...(isTcp ? remarksOnProxy(environment) : [])],
  };
}

/** As people ask; wrong usage is that even while no host runs. */
function readOne([of = '', ...more]: readonly string[]): string {
  if (more.length > 0) throw new UsageError(`one port at a time: what is ${more[0]}?`);
  parsePathQuestion(of);
  return of;
}

/** For people: the hops, each with its mark, and what follows from them. */
export function formatDoctor({ hops, probe, complaint, remarks, asked }: DoctorReport): string {
  const table = formatTable(hops.map((hop) => [markOf(hop), hop.name, hop.text]));
  const steps = Object.entries(probe?.record?.timingsMicros ?? {}).map(
    ([step, micros]) => `${step} ${formatMicroseconds(micros)}`,
  );
  const tried = steps.length === 0 ? '' : `  a connection was tried: ${steps.join(', ')}\n`;
  return `${table}${tried}${formatVerdict(complaint, `${asked} works`, remarks)}`;
}

/** The same of a host. */
export function formatHealth({ checks, complaint, remarks }: HealthReport): string {
  const table = formatTable(checks.map((check) => [markOf(check), check.name, check.text]));
  return `${table}${formatVerdict(complaint, 'this host works', remarks)}`;
}

function formatVerdict(
  complaint: Complaint | undefined,
  otherwise: string,
  remarks: readonly string[],
): string {
  const verdict = complaint
    ? `\n${complaint.problem}.\nWhat to do: ${complaint.advice}.\n`
    : `\n${otherwise}, as far as can be seen.\n`;
  return `${verdict}${remarks.map((remark) => `Note: ${remark}.\n`).join('')}`;
}

function markOf({ ok }: { readonly ok?: boolean }): string {
  if (ok === undefined) return '?';
  return ok ? '✓' : '✗';
}
