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
 * Makes these faults with these forwarders, each `times` times.
 * @param report gets a fault and, for each forwarder by its name, { results }, { lacks } (why it has no such fault) or
 *   { failed } (why it could not be tried)
 * @param progress is told what is being done
 */
export async function run(faults, names, times, report, progress) {
  const quick = faults.filter(({ slow }) => !slow);
  for (const fault of quick) {
    const byName = {};
    for (const name of names) {
      progress(`${fault.id}: ${name}`);
      byName[name] = await tried(fault, name, () => repeat(fault, name, times));
    }
    report(fault, byName);
  }
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

/** One after the other, on the same forwarder as long as it comes to itself again. */
async function repeat(fault, name, times) {
  const results = [];
  let scene;
  try {
    for (let time = 0; time < times; time++) {
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
