#!/usr/bin/env node
// npm run simulate -- [--kind data|control] [--schedules N] [--seed S] [--trace]: both ends in one process, in simulated
// time, through random schedules. See test/simulation/README.md.
import { join } from 'node:path';
import { build } from 'esbuild';
import { ROOT } from './bundle.mjs';

const outfile = join(ROOT, 'build/test/simulate.mjs');
await build({
  absWorkingDir: ROOT,
  entryPoints: ['test/simulation/main.ts'],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  packages: 'external',
  sourcemap: 'inline',
});
process.setSourceMapsEnabled(true);
await import(outfile);
