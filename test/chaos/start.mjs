#!/usr/bin/env node
// Bundles the chaos run, which is TypeScript, and starts it: npm run chaos -- --help
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { bundle, COMMON_JS, ownPlace, ROOT } from '../../scripts/bundle.mjs';

const FOLDER = 'build/chaos';
// Runs beside each other do not write one file.
const file = join(ROOT, FOLDER, `main-${process.pid}.cjs`);
const { outputFiles } = await bundle({
  entryPoints: [fileURLToPath(new URL('main.ts', import.meta.url))],
  ...COMMON_JS,
  // A failure shows the line.
  minifyWhitespace: false,
  plugins: [ownPlace(FOLDER)],
});
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, outputFiles[0].contents);
process.on('exit', () => rmSync(file));
await import(pathToFileURL(file).href);
