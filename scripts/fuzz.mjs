// npm run fuzz [-- TARGET…] [--seconds N | --runs N] [--seed S] [--keep]
//
// Runs the targets of test/fuzz, each for N seconds, on inputs that are made from earlier ones, led by which
// branches of our code they reach. What is found, and found again, is written to test/fuzz/found, where `npm test`
// finds it; --keep adds to test/fuzz/corpus the inputs that have reached something new. With --runs each target has
// so many inputs instead, or as many as take as long: the same ones for the same seed, on any machine.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './bundle.mjs';
import { bundleTargets, targetNames } from './fuzz/bundle-targets.mjs';
import { fuzzProxy } from './fuzz/proxy.mjs';
import { runTarget } from './fuzz/run-target.mjs';

/** Where inputs are kept: each folder has a file a target. */
const FOLDER = join(ROOT, 'test/fuzz');

/** What is written in C, and run as a process of its own. */
const PROXY = 'proxy';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '7' },
    runs: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 32) },
    keep: { type: 'boolean', default: false },
  },
});
const work = values.runs === undefined ? undefined : Number(values.runs);
const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
const known = [...targetNames(), PROXY];
const names = positionals.length > 0 ? positionals : known;
const unknown = names.filter((name) => !known.includes(name));
if (unknown.length > 0 || !((work ?? seconds) > 0) || !Number.isInteger(seed)) {
  console.error(
    `npm run fuzz [-- TARGET…] [--seconds N | --runs N] [--seed S] [--keep]; the targets: ${known.join(', ')}`,
  );
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), 'portferry-fuzz-'));
let failures = 0;
try {
  console.log(`seed ${seed}, ${work === undefined ? `${seconds} s` : `${work} runs`} each`);
  const bundle = names.some((name) => name !== PROXY) ? await bundleTargets(folder) : undefined;
  for (const name of names) report(name, await fuzz(bundle, name));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(failures > 0 ? 1 : 0);

function fuzz(bundle, name) {
  const inputs = [...readInputs('found', name), ...readInputs('corpus', name)];
  const task = { name, seed, inputs, ...(work === undefined ? { seconds } : { work }) };
  return name === PROXY ? fuzzProxy({ ...task, folder }) : runTarget(bundle, folder, task);
}

function readInputs(kind, name) {
  const path = fileOf(kind, name);
  if (!existsSync(path)) return [];
  return readFileSync(path, 'latin1')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

/** Each line is an input, as a JSON string in which each character is one byte. */
function writeInputs(kind, name, inputs) {
  mkdirSync(join(FOLDER, kind), { recursive: true });
  writeFileSync(fileOf(kind, name), inputs.map((input) => `${lineOf(input)}\n`).join(''));
}

function lineOf(input) {
  const text = JSON.stringify(input);
  return text.replace(/[\x7f-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function fileOf(kind, name) {
  return join(FOLDER, kind, `${name}.txt`);
}

function report(name, { found, once, message, runs = 0, branches, kept, skipped }) {
  if (skipped !== undefined) {
    console.log(`${name}: skipped: ${skipped}`);
    if (process.env.PORTFERRY_REQUIRE === 'all') failures++;
    return;
  }
  if (found === undefined) {
    const reached = branches === undefined ? '' : `, ${branches} branches, by ${kept.length} inputs`;
    console.log(`${name}: ${runs} runs${reached}`);
    if (values.keep && kept) writeInputs('corpus', name, kept);
    return;
  }
  const before = readInputs('found', name);
  if (!before.includes(found)) writeInputs('found', name, [...before, found]);
  const where = relative(process.cwd(), fileOf('found', name));
  if (once) {
    console.log(
      `${name}: ${runs} runs; seen once, not again: ${lineOf(found)}\n${message}\nkept in ${where}`,
    );
    return;
  }
  failures++;
  console.error(`${name}: FOUND after ${runs} runs: ${lineOf(found)}\n${message}`);
  console.error(`kept as a line of ${where}, which npm test runs; npm run fuzz -- ${name} begins with it`);
}
