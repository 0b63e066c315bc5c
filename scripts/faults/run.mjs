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

/** How long (ms) a whole run is to take: where the machine is slow, a fault is made fewer times, but once. */
const RUN_MS = 540_000;

/** Of that, how long (ms) more and more of those faults are begun that wait for most of their time. */
const BEGIN_MS = 90_000;

/**
 * Makes these faults with these forwarders, each `times` times.
 * @param report gets a fault and, for each forwarder by its name, { results }, { lacks } (why it has no such fault) or
 *   { failed } (why it could not be tried)
 * @param progress is told what is being done
 */
export async function run(faults, names, times, report, progress) {
  const deadline = performance.now() + RUN_MS;
  const slow = faults.filter((fault) => fault.slow);
  if (slow.length > 0) {
    progress(`${slow.map(({ id }) => id).join(', ')}: all at once, some 2 minutes`);
    const byFault = await allAtOnce(slow, names, times, performance.now() + BEGIN_MS);
    for (const [fault, byName] of byFault) report(fault, byName);
  }
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

/**
 * Faults side by side, each with a forwarder of its own. They are begun one after the other, so that no program's start
 * has to share the processor with many others.
 */
async function allAtOnce(faults, names, times, until) {
  const pairs = faults.flatMap((fault) => names.map((name) => ({ fault, name, made: [] })));
  for (let time = 0; time < times && (time === 0 || performance.now() < until); time++)
    for (const { fault, name, made } of pairs) {
      if (fault.lacks?.(name) !== undefined) continue;
      const scene = await Scene.open(name, fault).catch(({ message }) => message);
      made.push(typeof scene === 'string' ? Promise.reject(new Error(scene)) : finish(fault, scene));
      // It is asked for when all have been begun.
      made.at(-1).catch(() => {});
    }
  const byFault = new Map(faults.map((fault) => [fault, {}]));
  for (const { fault, name, made } of pairs)
    byFault.get(fault)[name] = await tried(fault, name, () => Promise.all(made));
  return byFault;
}

async function finish(fault, scene) {
  try {
    return await bounded(fault.make(scene, scene.options));
  } finally {
    await scene.close();
  }
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
