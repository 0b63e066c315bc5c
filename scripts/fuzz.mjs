// npm run fuzz [-- TARGET…] [--seconds N] [--seed S] [--keep]
//
// Runs the targets of test/fuzz, each for N seconds, on inputs that are made from earlier ones, led by which
// branches of our code they reach. What is found is written to test/fuzz/found, where `npm test` finds it;
// --keep adds to test/fuzz/corpus the inputs that have reached something new.
import { fork } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './bundle.mjs';
import { bundleTargets, targetNames } from './fuzz/bundle-targets.mjs';
import { fuzzProxy } from './fuzz/proxy.mjs';

/** Where inputs are kept: each folder has a file a target. */
const FOLDER = join(ROOT, 'test/fuzz');

/** What is written in C, and run as a process of its own. */
const PROXY = 'proxy';

/** How long (ms) an input may take, on a machine that does other work beside, before the target counts as hanging. */
const HANG_MS = 20_000;
const WATCH_MS = 1_000;

/** What a target may make of an input (MiB). */
const MAX_HEAP_MB = 512;

/** What is shown of a process that has crashed. */
const MAX_STDERR_LENGTH = 8_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '7' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 32) },
    keep: { type: 'boolean', default: false },
  },
});
const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
const known = [...targetNames(), PROXY];
const names = positionals.length > 0 ? positionals : known;
const unknown = names.filter((name) => !known.includes(name));
if (unknown.length > 0 || !(seconds > 0) || !Number.isInteger(seed)) {
  console.error(
    `npm run fuzz [-- TARGET…] [--seconds N] [--seed S] [--keep]; the targets: ${known.join(', ')}`,
  );
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), 'portferry-fuzz-'));
let failures = 0;
try {
  console.log(`seed ${seed}, ${seconds} s each`);
  const bundle = names.some((name) => name !== PROXY) ? await bundleTargets(folder) : undefined;
  for (const name of names) report(name, await (name === PROXY ? proxy() : fuzz(bundle, name)));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(failures > 0 ? 1 : 0);

function proxy() {
  return fuzzProxy({ seconds, seed, folder, inputs: readInputs('corpus', PROXY) });
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
  const lines = inputs.map((input) => `${toAscii(JSON.stringify(input))}\n`);
  mkdirSync(join(FOLDER, kind), { recursive: true });
  writeFileSync(fileOf(kind, name), lines.join(''));
}

function toAscii(text) {
  return text.replace(/[\x7f-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function fileOf(kind, name) {
  return join(FOLDER, kind, `${name}.txt`);
}

/** Runs a target in a process of its own, which may hang, crash or use up its memory. */
function fuzz(bundle, name) {
  const inputs = [...readInputs('found', name), ...readInputs('corpus', name)];
  const currentPath = join(folder, `${name}.current`);
  const child = fork(bundle, {
    execArgv: [`--max-old-space-size=${MAX_HEAP_MB}`],
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    // It is killed in the end: what it has made is removed with the folder.
    env: { ...process.env, TMPDIR: folder },
  });
  child.send({ name, seconds, seed, inputs, currentPath });
  /** What the child runs: the number of the run, a line break, and the input. */
  const current = () => {
    const text = existsSync(currentPath) ? readFileSync(currentPath, 'latin1') : '0\n';
    const end = text.indexOf('\n');
    return { run: text.slice(0, end), input: text.slice(end + 1) };
  };
  return new Promise((resolve) => {
    let last = '';
    let since = Date.now();
    let stderr = '';
    const watch = setInterval(() => {
      const { run, input } = current();
      if (run !== last) [last, since] = [run, Date.now()];
      else if (Date.now() - since > HANG_MS)
        end({ found: input, message: `it has not ended within ${HANG_MS / 1000} s` });
    }, WATCH_MS);
    const end = (result) => {
      clearInterval(watch);
      child.kill('SIGKILL');
      resolve(result);
    };
    child.stderr.on('data', (chunk) => {
      stderr = `${stderr}${chunk}`.slice(-MAX_STDERR_LENGTH);
    });
    child.on('message', end);
    child.on('close', (code, signal) => {
      const { run, input } = current();
      end({ found: input, runs: run, message: `the process ended with ${code ?? signal}\n${stderr}` });
    });
  });
}

function report(name, { found, message, runs = 0, branches, kept, skipped }) {
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
  failures++;
  const before = readInputs('found', name);
  if (!before.includes(found)) writeInputs('found', name, [...before, found]);
  console.error(`${name}: FOUND after ${runs} runs: ${JSON.stringify(found)}\n${message}`);
  console.error(`kept in ${relative(process.cwd(), fileOf('found', name))}: npm test runs it from now on`);
}
