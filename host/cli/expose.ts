import type { Writable } from 'node:stream';
import { OperationError } from '../../protocol/errors.js';
import { defineCommand } from '../../protocol/program/run-program.js';
import type { ForwardReport } from '../records/reports.js';
import { parseSpecMatcher } from '../rule/forward-matcher.js';
import { parseSpec, SPEC_FORM, UNIX_SPEC_FORM } from '../rule/forward-spec.js';
import { SPEC_EXAMPLES } from '../rule/spec-examples.js';
import { CLIENT_OPTIONS, makeClient } from './control-option.js';
import { formatForward, writeJson } from './output.js';

const OPERANDS = { name: 'spec', describe: `${SPEC_FORM} or ${UNIX_SPEC_FORM}`, required: true };

export const exposeCommand = defineCommand({
  name: 'expose',
  describe: 'Add forwards to a running host, all or none',
  operands: OPERANDS,
  options: CLIENT_OPTIONS,
  // What a shell would expand is quoted.
  examples: SPEC_EXAMPLES.map(([spec, meaning]) => [`$0 expose ${quoted(spec)}`, meaning]),
  async run({ control, json }, specs, { stdout, stderr, environment }) {
    // Here already, so that a wrong SPEC is wrong usage even while no host runs.
    specs.forEach(parseSpec);
    const forwards = await makeClient(control, environment).expose(specs);
    if (json) writeJson(stdout, forwards);
    else for (const forward of forwards) stdout.write(`${formatForward(forward)}\n`);
    writeWarnings(stderr, forwards);
  },
});

export const unexposeCommand = defineCommand({
  name: 'unexpose',
  describe: 'Remove forwards from a running host; connections of TCP and unix sockets go on',
  operands: OPERANDS,
  options: CLIENT_OPTIONS,
  examples: [
    ['$0 unexpose 8080', 'every forward of TCP port 8080, on whatever address'],
    ['$0 unexpose 127.0.0.1:8080', 'only that of this address'],
    ['$0 unexpose 8080:80', 'only those to port 80'],
    ['$0 unexpose 8000-8010', 'those of eleven ports'],
    ['$0 unexpose 5353/udp', 'UDP, whose flows end with it'],
    ['$0 unexpose unix:/tmp/db.sock', 'a unix socket'],
  ],
  async run({ control, json }, specs, { stdout, stderr, environment }) {
    specs.forEach(parseSpecMatcher);
    const { removed, unmatched } = await makeClient(control, environment).unexpose(specs);
    if (json) writeJson(stdout, removed);
    else for (const forward of removed) stdout.write(`removed ${formatForward(forward)}\n`);
    writeWarnings(stderr, removed);
    if (unmatched.length > 0) throw new OperationError(unmatched.join('; '));
  },
});

function quoted(spec: string): string {
  return /[*[]/.test(spec) ? `'${spec}'` : spec;
}

/** Each once, however many forwards it is about. */
function writeWarnings(stderr: Writable, forwards: readonly ForwardReport[]): void {
  const warnings = new Set(forwards.flatMap(({ warning }) => (warning === undefined ? [] : [warning])));
  for (const warning of warnings) stderr.write(`portferry: warning: ${warning}\n`);
}
