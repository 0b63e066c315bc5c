// npm run build: checks the types, compiles, and bundles.
//
//   dist/host/main.js, dist/guest/main.js   the two programs; what a run does not need is in dist/chunks
//   dist/portferry-guest.mjs                the guest as one file that needs nothing but Node.js
//   dist/licences.txt                       of what is bundled
//   man/                                    the manual pages
//
// The other files in dist are the compiled modules, for scripts and tests: they are in no package.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import {
  bundle,
  carriedKoffi,
  DIST,
  koffiBuilds,
  licences,
  ownPlace,
  REQUIRE,
  ROOT,
  withShellLine,
} from './bundle.mjs';

/** The two programs, and what they run in a process or thread of its own. */
const MAINS = ['host/main.ts', 'guest/main.ts'];
const ENTRIES = [...MAINS, 'host/bench/far-end-process.ts', 'host/bench/saturate.ts', 'host/enter.ts'];

const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], {
  cwd: ROOT,
  stdio: 'inherit',
});
if (status !== 0) process.exit(status ?? 1);
rmSync(join(DIST, 'chunks'), { recursive: true, force: true });

const programs = await bundlePrograms();
const guest = await bundleGuest();
writeFileSync(join(DIST, 'licences.txt'), `${licences([programs, guest])}\n`);
await import('./man.mjs');

async function bundlePrograms() {
  const { outputFiles, metafile } = await bundle({
    entryPoints: ENTRIES,
    outdir: DIST,
    outbase: ROOT,
    chunkNames: 'chunks/[name]-[hash]',
    format: 'esm',
    splitting: true,
    banner: { js: REQUIRE },
    plugins: [ownPlace],
  });
  refuseLostPlaces(metafile);
  for (const { path, text } of outputFiles) {
    const main = MAINS.find((name) => join(DIST, name).replace(/ts$/, 'js') === path);
    write(path, main ? withShellLine(text, main) : text);
    // The compiler's, of the file that stood here.
    rmSync(`${path}.map`, { force: true });
  }
  return metafile;
}

/** `ownPlace` counts on files that lie one folder deep in dist. */
function refuseLostPlaces({ outputs, inputs }) {
  for (const [path, output] of Object.entries(outputs)) {
    if (relative(DIST, join(ROOT, path)).split('/').length === 2) continue;
    const sources = Object.keys(output.inputs).filter((name) => name in inputs && !ENTRIES.includes(name));
    if (sources.length > 0)
      throw new Error(`${sources} must be in a file that lies one folder deep, not in ${path}`);
  }
}

/** What start.ts begins, and the guest's code in a comment behind it: see there. */
async function bundleGuest() {
  const { outputFiles: code, metafile } = await bundle({
    entryPoints: ['guest/main.ts'],
    outfile: 'guest.cjs',
    format: 'cjs',
    plugins: [carriedKoffi],
    define: { 'import.meta.url': 'fileUrl', 'import.meta.filename': 'filePath' },
  });
  const { outputFiles: start } = await bundle({
    entryPoints: ['guest/single-file/start.ts'],
    outfile: join(DIST, 'portferry-guest.mjs'),
    format: 'esm',
    target: 'node12.22',
    banner: { js: '#!/bin/sh' },
  });
  // A function has no first line for the system.
  const body = code[0].text.replace(/^#!.*\n/, '');
  const carried = [['code', JSON.stringify(body)], ...koffiBuilds()];
  const [{ path, text }] = start;
  const comments = carried.map(([name, line]) => `// ${name} ${line}\n`);
  write(path, withShellLine(text, 'guest/main.ts') + comments.join(''));
  return metafile;
}

function write(path, text) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  if (text.startsWith('#!')) chmodSync(path, 0o755);
}
