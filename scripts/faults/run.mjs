// Every fault with every forwarder, some times each.
import { DESTINATION, ENDS } from './kinds/destination.mjs';
import { CHANNEL, HALVES } from './kinds/halves.mjs';
import { LOAD } from './kinds/load.mjs';
import { MACHINE } from './kinds/machine.mjs';
import { Scene } from './scene.mjs';

/** In the order of the report. */
export const FAULTS = [...HALVES, ...CHANNEL, ...DESTINATION, ...ENDS, ...LOAD, ...MACHINE];

/** How long (ms) a fault may take before it is given up: longer than whatever it waits for. */
const FAULT_MS = 120_000;

/**
 * How long (ms) a whole run is to take: a fault is made fewer times, but once, where the machine is slow. What waits
 * long has its part of it, at the beginning.
 */
const RUN_MS = 570_000;

/**
 * Makes these faults with these forwarders, each `times` times.
 * @param report gets a fault and, for each forwarder by its name, { results }, { lacks } (why it has no such fault) or
 *   { failed } (why it could not be tried)
 * @param progress is told what is being done
 */
export async function run(faults, names, times, report, progress) {
  const deadline = performance.now() + RUN_MS;
  // These wait for most of their time: all of them at once, each with a forwarder of its own.
  const slow = faults.filter((fault) => fault.slow);
  if (slow.length > 0) progress(`${slow.map(({ id }) => id).join(', ')}: all at once, some 2 minutes`);
  const waiting = slow.map(async (fault) => {
    const pairs = names.map(async (name) => [
      name,
      await tried(fault, name, () => atOnce(fault, name, times)),
    ]);
    return Object.fromEntries(await Promise.all(pairs));
  });
  for (const [index, fault] of slow.entries()) report(fault, await waiting[index]);
  const quick = faults.filter((fault) => !fault.slow);
  let left = quick.length * names.length;
  for (const fault of quick) {
    const byName = {};
    for (const name of names) {
      progress(`${fault.id}: ${name}`);
      const until = performance.now() + Math.max(0, deadline - performance.now()) / left--;
      byName[name] = await tried(fault, name, () => repeat(fault, name, times, until));
    }
    report(fault, byName);
  }
}

async function tried(fault, name, make) {
  const lacks = fault.lacks?.(name);
  if (lacks !== undefined) return { lacks };
  try {
    return { results: await make() };
  } catch ({ message }) {
    return { failed: message };
  }
}

/** One after the other, on the same forwarder as long as it comes to itself again; none begins after `until`. */
async function repeat(fault, name, times, until) {
  const results = [];
  let scene;
  try {
    for (let time = 0; time < times && (time === 0 || performance.now() < until); time++) {
      scene ??= await Scene.open(name, fault);
      const result = await bounded(fault.make(scene, scene.options));
      results.push(result);
      const well = !('worksMs' in result) || result.worksMs !== undefined;
      if (well && fault.began !== false) continue;
      await scene.close();
      scene = undefined;
    }
  } finally {
    await scene?.close();
  }
  return results;
}

function atOnce(fault, name, times) {
  return Promise.all(
    Array.from({ length: times }, async () => {
      const scene = await oneByOne(() => Scene.open(name, fault));
      try {
        return await bounded(fault.make(scene, scene.options));
      } finally {
        await scene.close();
      }
    }),
  );
}

/** Programs are started one after the other, so that none has to share the processor with many others. */
let before = Promise.resolve();
function oneByOne(start) {
  const started = before.then(start);
  before = started.catch(() => {});
  return started;
}

async function bounded(made) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it takes longer than ${FAULT_MS / 1000} s`)), FAULT_MS);
  });
  try {
    return await Promise.race([made, late]);
  } finally {
    clearTimeout(timer);
  }
}
