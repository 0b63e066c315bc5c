// One bundle of all targets of test/fuzz, in which our own code says what it does.
import { readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { build } from 'esbuild';
import { ROOT } from '../bundle.mjs';
import { COUNTERS, EQUAL, Instrumenter } from './instrument.mjs';

/** The product: what tests bring along is not instrumented. */
const OURS = /^(protocol|host|guest)\//;

/** The names of the targets, without loading them. */
export function targetNames() {
  const source = readFileSync(join(ROOT, 'test/fuzz/targets.ts'), 'utf8');
  const [, list] = /TARGETS[^{]*\{([^}]*)\}/.exec(source);
  return [...list.matchAll(/^ {2}'?([\w-]+)'?,?/gm)].map(([, name]) => name);
}

/** @returns the path of the bundle, a program for a worker */
export async function bundleTargets(folder) {
  const instrumenter = new Instrumenter();
  const instrumented = {
    name: 'instrumented',
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, ({ path }) => {
        if (!OURS.test(relative(ROOT, path))) return undefined;
        return { contents: instrumenter.instrument(readFileSync(path, 'utf8'), path), loader: 'js' };
      });
    },
  };
  const common = { bundle: true, write: false, platform: 'node', format: 'cjs', target: 'node20' };
  const { outputFiles } = await build({
    ...common,
    absWorkingDir: ROOT,
    entryPoints: ['test/fuzz/engine/worker.ts'],
    external: ['koffi', 'playwright-core'],
    plugins: [instrumented],
    logLevel: 'error',
    define: { 'import.meta.url': 'bundleUrl' },
  });
  const { outputFiles: probe } = await build({
    ...common,
    absWorkingDir: ROOT,
    entryPoints: ['test/fuzz/engine/probe.ts'],
    format: 'iife',
    globalName: '$probeModule',
  });
  const words = JSON.stringify([...instrumenter.words]);
  const head = [
    `const bundleUrl = ${JSON.stringify(`file://${ROOT}build/protocol/program/`)};`,
    probe[0].text,
    `globalThis.$probe = new $probeModule.Probe(${instrumenter.sites}, ${words});`,
    `const { counters: ${COUNTERS}, equal: ${EQUAL} } = globalThis.$probe;`,
  ];
  const path = join(folder, 'targets.cjs');
  writeFileSync(path, `${head.join('\n')}\n${outputFiles[0].text}`);
  return path;
}
