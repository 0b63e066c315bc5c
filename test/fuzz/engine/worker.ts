import { ftruncateSync, openSync, writeSync } from 'node:fs';
import type { Target } from '../target.js';
import { TARGETS } from '../targets.js';
import { type Finding, Fuzzer } from './fuzzer.js';
import { MAX_INPUT_BYTES } from './mutate.js';
import type { Probe } from './probe.js';
import { running } from './running-probe.js';

/** How often an input on which the target has failed must fail again: what was slow may have been so by chance. */
const REPLAYS = 3;

/** What scripts/fuzz/run-target.mjs says. Inputs are text in which each character is one byte. */
interface Task {
  name: string;
  /** The file that shows which input is being run: its number, a line break, and its bytes. */
  currentPath: string;
}

interface Search extends Task {
  seed: number;
  /** What was kept of earlier runs. */
  inputs: readonly string[];
  /** How long it is looked; or in how many runs; or in as many as take as long as so many of a target that costs 1. */
  seconds?: number;
  runs?: number;
  work?: number;
}

interface Replay extends Task {
  replay: string;
}

const toText = (input: Buffer): string => input.toString('latin1');

async function search(probe: Probe, task: Search): Promise<object> {
  const target = targetOf(task);
  const fuzzer = new Fuzzer({ target, probe, seed: task.seed, onInput: showIn(task) });
  const { seconds, work = Number.POSITIVE_INFINITY, runs = Math.ceil(work / (target.cost ?? 1)) } = task;
  const ends = seconds === undefined ? Number.POSITIVE_INFINITY : performance.now() + seconds * 1000;
  probe.counters.fill(0);
  const known = [...target.seeds.map((seed) => Buffer.from(seed)), ...task.inputs.map(toBytes)];
  for (const input of known) {
    const found = await fuzzer.add(input);
    if (found) return asResult(found, fuzzer.runs);
  }
  const found = await fuzzer.search(() => fuzzer.runs >= runs || performance.now() >= ends);
  if (found) return asResult(found, fuzzer.runs);
  return {
    runs: fuzzer.runs,
    branches: fuzzer.coverage.branches,
    kept: await shortest(fuzzer, target, probe),
  };
}

async function replay(probe: Probe, task: Replay): Promise<object> {
  const fuzzer = new Fuzzer({ target: targetOf(task), probe, seed: 0, onInput: showIn(task) });
  let found: Finding | undefined;
  for (let count = 0; count < REPLAYS; count++) {
    found = await fuzzer.add(toBytes(task.replay));
    if (!found) return {};
  }
  return found ? asResult(found, fuzzer.runs) : {};
}

function targetOf({ name }: Task): Target {
  const target = TARGETS[name];
  if (!target) throw new Error(`there is no target ${name}: there are ${Object.keys(TARGETS).join(', ')}`);
  return target;
}

/** Shows each input before it is run. */
function showIn({ currentPath }: Task): (input: Buffer) => void {
  const file = openSync(currentPath, 'w');
  let run = 0;
  return (input) => {
    const shown = Buffer.concat([Buffer.from(`${++run}\n`), input]);
    writeSync(file, shown, 0, shown.length, 0);
    ftruncateSync(file, shown.length);
  };
}

function asResult({ input, message }: Finding, runs: number): object {
  return { found: toText(input), message, runs };
}

function toBytes(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

/** As few and as short inputs as reach the same branches, without the target's seeds. */
async function shortest(from: Fuzzer, target: Target, probe: Probe): Promise<string[]> {
  const fuzzer = new Fuzzer({ target, probe, seed: 0, counts: false });
  const seeds = new Set(target.seeds.map((seed) => toText(Buffer.from(seed).subarray(0, MAX_INPUT_BYTES))));
  for (const seed of target.seeds) await fuzzer.add(Buffer.from(seed));
  for (const input of [...from.inputs].sort((a, b) => a.length - b.length)) await fuzzer.add(input);
  return fuzzer.inputs.map(toText).filter((text) => !seeds.has(text));
}

process.once('message', (task: Search | Replay) => {
  const done = 'replay' in task ? replay(running, task) : search(running, task);
  void done.then((result) => process.send?.(result));
});
