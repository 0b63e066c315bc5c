// npm run build: checks the types, compiles, and bundles.
//
//   dist/host/main.js, dist/guest/main.js   the two programs, each with a start.js that holds all that is ours
//   dist/libraries                          others' code that few runs need
//   dist/portferry-guest.mjs                the guest as one file that needs nothing but Node.js
//   dist/host/dashboard/page                 what a browser gets of the dashboard
//   dist/licences.txt                       of what is bundled
//   man/                                    the manual pages
//   build/                                  the compiled modules, for scripts and tests: they are in no package
//
// The programs are CommonJS: Node's loader of ES modules takes some 2 MiB, and its work as much again.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import {
  bundle,
  COMMON_JS,
  carriedKoffi,
  DIST,
  koffiBuilds,
  licences,
  ownPlace,
  ROOT,
  withShellLine,
} from './bundle.mjs';
import { bundlePage } from './bundle-page.mjs';

/** The two programs: an old Node.js can read them, and says so; the others it could not. */
const MAINS = ['host/main.ts', 'guest/main.ts'];
/** What they go on with, and what they run in a process or thread of its own. */
const ENTRIES = [
  ...['host/start.ts', 'guest/start.ts'],
  ...['host/bench/far-end-process.ts', 'host/bench/saturate.ts', 'host/enter.ts'],
];
/** Others' code that every run needs, or that is no larger than a file of its own is worth. */
const EVERYWHERE = ['pino', 'ipaddr.js', 'koffi', 'shlex'];

/** Both the library's own file and what stands in its place say this: it is the same to whoever imports it. */
const passOn = (path) =>
  `import * as library from '${path}'; export * from '${path}'; export default library.default ?? library;`;
const libraryFile = (name) => `libraries/${name.replaceAll('/', '-')}.js`;

const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], {
  cwd: ROOT,
  stdio: 'inherit',
});
if (status !== 0) process.exit(status ?? 1);
for (const folder of ['host', 'libraries']) rmSync(join(DIST, folder), { recursive: true, force: true });

const apart = new Set();
const metafiles = [];
for (const main of MAINS) metafiles.push(await bundleEntry(main, { external: ['./start.js'] }));
for (const entry of ENTRIES) metafiles.push(await bundleEntry(entry, { plugins: [librariesApart(entry)] }));
for (const library of apart) metafiles.push(await bundleLibrary(library));
metafiles.push(await bundleGuest());
metafiles.push(await bundlePage());
write(join(DIST, 'package.json'), `${JSON.stringify({ type: 'commonjs' })}\n`);
write(join(DIST, 'licences.txt'), `${licences(metafiles)}\n`);
await import('./man.mjs');

async function bundleEntry(entry, { plugins = [], ...options }) {
  const outfile = join(DIST, entry).replace(/ts$/, 'js');
  const place = ownPlace(dirname(entry));
  const { outputFiles, metafile } = await bundle({
    ...{ entryPoints: [entry], outfile, ...COMMON_JS, plugins: [place, ...plugins] },
    ...options,
  });
  const [{ text }] = outputFiles;
  write(outfile, MAINS.includes(entry) ? withShellLine(text, entry) : text);
  return metafile;
}

/** Leaves others' code out of an entry's bundle: it is read when the module that imports it is first needed. */
function librariesApart(entry) {
  const up = relative(dirname(entry), '.');
  return {
    name: 'libraries-apart',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^[^.]/ }, ({ path, importer, kind }) => {
        const ours = !relative(ROOT, importer).startsWith('node_modules');
        if (kind === 'entry-point' || !ours || path.includes(':') || EVERYWHERE.includes(path))
          return undefined;
        apart.add(path);
        return { path, namespace: 'library' };
      });
      onResolve({ filter: /^\./, namespace: 'library' }, ({ path }) => ({ path, external: true }));
      onLoad({ filter: /.*/, namespace: 'library' }, ({ path }) => ({
        contents: passOn(`${up}/${libraryFile(path)}`),
      }));
    },
  };
}

async function bundleLibrary(name) {
  const { outputFiles, metafile } = await bundle({
    stdin: { contents: passOn(name), resolveDir: ROOT },
    outfile: join(DIST, libraryFile(name)),
    ...COMMON_JS,
    // Not every library has a default: that is all of it then, as Node.js has it.
    logOverride: { 'import-is-undefined': 'silent' },
  });
  write(outputFiles[0].path, outputFiles[0].text);
  return metafile;
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
