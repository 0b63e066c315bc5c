import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';

const MODULE = new URL('../../scripts/fuzz/run-target.mjs', import.meta.url).href;

/** How long an input may take. */
type Hang = { cpuMs: number; ms: number; lookMs: number };

/** What is found by processes that say this, instead of the bundle of all targets. @param said by the kind of task */
async function find(
  t: Test,
  said: { search: string; replay: string; again?: string },
  hang?: Hang,
): Promise<object> {
  const { runTarget } = await import(MODULE);
  const folder = mkdtempSync(join(tmpdir(), 'pf-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const bundle = join(folder, 'bundle.cjs');
  const { search, replay, again = 'process.send({})' } = said;
  const kinds = `'replay' in task ? () => { ${replay} } : task.runs ? () => { ${again} } : () => { ${search} }`;
  writeFileSync(bundle, `process.once('message', (task) => { (${kinds})(); });`);
  return runTarget(bundle, folder, { name: 'x', seed: 1, inputs: [], work: 100 }, hang);
}

const FOUND = `process.send({ found: 'input', message: 'slow', runs: 7 })`;

t.test('what fails in a process of its own again is found', async (t) => {
  t.same(await find(t, { search: FOUND, replay: `process.send({ found: task.replay, message: 'again' })` }), {
    found: 'input',
    message: 'again',
    runs: 7,
  });
});

t.test('so is an input that ends its process', async (t) => {
  const search = `
    require('node:fs').writeFileSync(task.currentPath, '3\\nbad');
    console.error('out of order');
    process.exit(9);`;
  t.match(await find(t, { search, replay: search }), {
    found: 'bad',
    runs: 3,
    message: /ended with 9\nout of/,
  });
});

t.test('so is an input that does not end, by what it takes of the processor', async (t) => {
  const search = `
    require('node:fs').writeFileSync(task.currentPath, '4\\nlong');
    for (;;);`;
  // Node's start takes less.
  const hang = { cpuMs: 1_000, ms: Number.POSITIVE_INFINITY, lookMs: 10 };
  const expected = { found: 'long', runs: 4, message: 'it does not end' };
  t.match(await find(t, { search, replay: search }, hang), expected);
});

t.test('where nothing fails nothing is run again', async (t) => {
  t.same(await find(t, { search: 'process.send({ runs: 5 })', replay: '' }), { runs: 5 });
});

t.test('a target that comes to no input cannot be run', async (t) => {
  await t.rejects(find(t, { search: 'process.exit(1)', replay: '' }), {
    message: /^x cannot be run: the process ended with 1/,
  });
});

t.test('what fails only after what went before it is found by all of that', async (t) => {
  const again = `process.send({ found: 'input', message: 'runs ' + task.runs, runs: 7 })`;
  t.match(await find(t, { search: FOUND, replay: 'process.send({})', again }), {
    found: 'input',
    once: undefined,
    message: /^only after what went before it, up to run 7\nruns 7$/,
  });
});

t.test('what fails once, and not again, is no finding', async (t) => {
  t.match(await find(t, { search: FOUND, replay: 'process.send({})' }), { found: 'input', once: true });
});
