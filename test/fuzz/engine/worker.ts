import { ftruncateSync, openSync, writeSync } from 'node:fs';
import { TARGETS } from '../targets.js';
import { Fuzzer } from './fuzzer.js';
import { MAX_INPUT_BYTES } from './mutate.js';
import type { Probe } from './probe.js';
import { running } from './running-probe.js';

/** What scripts/fuzz.mjs says. Inputs are text in which each character is one byte. */
interface Task {
  name: string;
  seconds: number;
  seed: number;
  /** What was kept of earlier runs. */
  inputs: readonly string[];
  /** The file that shows which input is being run: its number, a line break, and its bytes. */
  currentPath: string;
}

const toText = (input: Buffer): string => input.toString('latin1');

async function fuzz(probe: Probe, { name, seconds, seed, inputs, currentPath }: Task): Promise<object> {
  const target = TARGETS[name];
  if (!target) throw new Error(`there is no target ${name}: there are ${Object.keys(TARGETS).join(', ')}`);
  const file = openSync(currentPath, 'w');
  let run = 0;
  const onInput = (input: Buffer): void => {
    const shown = Buffer.concat([Buffer.from(`${++run}\n`), input]);
    writeSync(file, shown, 0, shown.length, 0);
    ftruncateSync(file, shown.length);
  };
  const fuzzer = new Fuzzer({ target, probe, seed, onInput });
  const ends = performance.now() + seconds * 1000;
  probe.counters.fill(0);
  const known = [...target.seeds.map((seed) => Buffer.from(seed)), ...inputs.map(toBytes)];
  for (const input of known) {
    const found = await fuzzer.add(input);
    if (found) return { found: toText(found.input), message: found.message };
  }
  const found = await fuzzer.search(() => performance.now() >= ends);
  if (found) return { found: toText(found.input), message: found.message, runs: fuzzer.runs };
  return {
    runs: fuzzer.runs,
    branches: fuzzer.coverage.branches,
    kept: await shortest(fuzzer, target, probe),
  };
}

function toBytes(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

/** As few and as short inputs as reach the same branches, without the target's seeds. */
async function shortest(from: Fuzzer, target: (typeof TARGETS)[string], probe: Probe): Promise<string[]> {
  const fuzzer = new Fuzzer({ target, probe, seed: 0, counts: false });
  const seeds = new Set(target.seeds.map((seed) => toText(Buffer.from(seed).subarray(0, MAX_INPUT_BYTES))));
  for (const seed of target.seeds) await fuzzer.add(Buffer.from(seed));
  for (const input of [...from.inputs].sort((a, b) => a.length - b.length)) await fuzzer.add(input);
  return fuzzer.inputs.map(toText).filter((text) => !seeds.has(text));
}

process.once('message', (task) => {
  void fuzz(running, task as Task).then((result) => process.send?.(result));
});
