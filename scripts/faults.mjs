#!/usr/bin/env node
// npm run faults: makes faults with portferry and with other forwarders, and shows what a client sees of each. The
// figures of docs/reliability.md are from it; run `npm run build` first.
import { cpus, release, type } from 'node:os';
import { parseArgs } from 'node:util';
import { FORWARDERS } from './faults/forwarders.mjs';
import { FAULTS, run } from './faults/run.mjs';
import { closeAll } from './faults/scene.mjs';
import { cellOf, summarize } from './faults/words.mjs';

const HELP = `npm run faults -- [--only FAULT,…] [--forwarders NAME,…] [--times N] [--json]

Makes each fault N times with each forwarder that is on PATH, and prints what the client sees (the server, of
uploads), after how long, and when a new connection works again: medians, and the worst. What has ended is started
again after 100 ms, as a service manager does. All of it takes less than 10 minutes, unless the machine is very
slow: then each fault is made once. Ctrl-C ends it.

  --only FAULT,…         only these
  --forwarders NAME,…    only these of: ${Object.keys(FORWARDERS).join(', ')}
  --times N              how often each fault is made, 1 to 20 (default: 5)
  --json                 one JSON document on standard output, with every single result

Examples:
  npm run faults -- --only guest-killed-download,channel-cut
  npm run faults -- --forwarders portferry,haproxy --times 1
  npm run faults -- --json >faults.json

Faults:
${FAULTS.map(({ id, text }) => `  ${id.padEnd(22)} ${text}`).join('\n')}
`;

const MAX_TIMES = 20;
const NAME_WIDTH = 18;

/** How much of what a forwarder says is shown. */
const MAX_SAID_LENGTH = 200;
const MAX_SAID_LINES = 3;

/** A line with such a word is more likely to be the reason than another one. */
const REASON = /cannot|refus|reset|fail|in use|error|too many|stopping/i;

const options = readOptions();
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, async () => {
    await closeAll();
    process.exit(130);
  });

const { present, absent } = await findForwarders(options.forwarders);
const say = options.json ? () => {} : (line) => console.log(line);
for (const { name, version, setup } of present)
  say(`${name.padEnd(NAME_WIDTH)} ${[version, setup].filter(Boolean).join('; ')}`);
for (const { name, reason } of absent) say(`${name.padEnd(NAME_WIDTH)} skipped: ${reason}`);

const report = [];
const names = present.map(({ name }) => name);
let done = 0;
await run(
  options.faults,
  names,
  options.times,
  (fault, byName) => {
    done++;
    report.push({ fault, byName });
    clearProgress();
    say(`\n${fault.id}: ${fault.text}`);
    for (const [name, row] of Object.entries(byName)) {
      if (name === 'direct' && row.lacks) continue;
      say(`  ${name.padEnd(NAME_WIDTH)} ${cellOf(fault, row)}`);
      const [said] = saidIn(row);
      if (said !== undefined) say(`  ${''.padEnd(NAME_WIDTH)} says: ${said}`);
    }
  },
  (text) => showProgress(`[${done}/${options.faults.length}] ${text}`),
);
clearProgress();
const output = options.json ? `${JSON.stringify(asJson(), undefined, 2)}\n` : '';
process.stdout.write(output, () => process.exit(0));

function readOptions() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        help: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        only: { type: 'string' },
        forwarders: { type: 'string' },
        times: { type: 'string', default: '5' },
      },
    }));
  } catch ({ message }) {
    fail(message);
  }
  if (values.help) {
    console.log(HELP);
    process.exit(0);
  }
  const ids = chosen(
    values.only,
    FAULTS.map(({ id }) => id),
    'fault',
  );
  const times = Number(values.times);
  if (!Number.isInteger(times) || times < 1 || times > MAX_TIMES)
    fail(`--times is a number from 1 to ${MAX_TIMES}`);
  return {
    ...{ json: values.json, times, faults: FAULTS.filter(({ id }) => ids.includes(id)) },
    forwarders: chosen(values.forwarders, Object.keys(FORWARDERS), 'forwarder'),
  };
}

function chosen(list, known, what) {
  if (list === undefined) return known;
  const names = list.split(',');
  for (const name of names) if (!known.includes(name)) fail(`there is no ${what} ${name}`);
  return names;
}

function fail(message) {
  console.error(`${message}; npm run faults -- --help has more`);
  process.exit(2);
}

async function findForwarders(wanted) {
  const found = await Promise.all(
    wanted.map(async (name) => ({ name, setup: FORWARDERS[name].setup, ...(await FORWARDERS[name].find()) })),
  );
  return {
    present: found.filter((each) => each.absent === undefined),
    absent: found.flatMap(({ name, absent: reason }) => (reason === undefined ? [] : [{ name, reason }])),
  };
}

/** The first lines that it said, of the times that it said something: such as look like reasons before others. */
function saidIn({ results = [] }) {
  const said = results.map(({ says = [] }) => says).find((lines) => lines.length > 0) ?? [];
  const [reasons, others] = [
    said.filter((line) => REASON.test(line)),
    said.filter((line) => !REASON.test(line)),
  ];
  return [...reasons, ...others].slice(0, MAX_SAID_LINES).map((line) => line.slice(0, MAX_SAID_LENGTH));
}

function asJson() {
  const [{ model } = {}] = cpus();
  return {
    machine: { system: `${type()} ${release()}`, cpus: cpus().length, model, node: process.version },
    times: options.times,
    ...{ forwarders: present, skipped: absent },
    faults: report.map(({ fault: { id, text, cell }, byName }) => ({
      ...{ id, text },
      forwarders: Object.fromEntries(
        Object.entries(byName).map(([name, row]) => [
          name,
          {
            summary: cellOf({ cell }, row),
            says: saidIn(row),
            ...(row.results ? { figures: summarize(row.results), results: row.results } : row),
          },
        ]),
      ),
    })),
  };
}

function showProgress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  else if (options.json) console.error(text);
}

function clearProgress() {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
}
