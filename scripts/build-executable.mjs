// npm run build:executable: makes dist/portferry-guest, the guest and Node.js in one file, for a machine that has
// no Node.js. `-- --node PATH` takes another Node.js than the one that runs this (20.19 or later, of this machine's
// kind).
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { bundle, carriedKoffi, DIST, koffiBuilds } from './bundle.mjs';

/** Node's documentation of single executable applications has these two. */
const RESOURCE = 'NODE_SEA_BLOB';
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

const POSTJECT = join(dirname(createRequire(import.meta.url).resolve('postject')), 'cli.js');

const { node = process.execPath } = parseArgs({ options: { node: { type: 'string' } } }).values;
const target = join(DIST, 'portferry-guest');

mkdirSync(DIST, { recursive: true });
const folder = mkdtempSync(join(DIST, 'executable-'));
try {
  await makeExecutable();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${target}: ${Math.round(statSync(target).size / 1e6)} MB`);

async function makeExecutable() {
  const script = await bundleScript();
  const blob = join(folder, 'blob');
  const configuration = join(folder, 'configuration.json');
  writeFileSync(
    configuration,
    JSON.stringify({
      main: script,
      output: blob,
      disableExperimentalSEAWarning: true,
      useCodeCache: true,
      assets: writeAssets(),
    }),
  );
  run(node, ['--experimental-sea-config', configuration]);
  const executable = join(folder, 'executable');
  copyFileSync(node, executable);
  chmodSync(executable, 0o755);
  // A process of its own, whose output counts only when it fails: it warns of sections that are in order.
  const segment = process.platform === 'darwin' ? ['--macho-segment-name', 'NODE_SEA'] : [];
  run(process.execPath, [POSTJECT, executable, RESOURCE, blob, '--sentinel-fuse', FUSE, ...segment]);
  // macOS runs no file whose signature does not fit, and what was injected has changed it.
  if (process.platform === 'darwin') run('codesign', ['--force', '--sign', '-', executable]);
  renameSync(executable, target);
}

/** Node's single executables take CommonJS only. */
async function bundleScript() {
  const script = join(folder, 'guest.cjs');
  const { outputFiles } = await bundle({
    entryPoints: ['guest/main.ts'],
    outfile: script,
    format: 'cjs',
    plugins: [carriedKoffi],
    // There is no file of a module: all lies where the executable does.
    banner: { js: "const executableUrl = require('node:url').pathToFileURL(process.execPath).href;" },
    define: { 'import.meta.url': 'executableUrl', 'import.meta.filename': 'process.execPath' },
  });
  writeFileSync(script, outputFiles[0].text);
  return script;
}

/** The builds of koffi for this machine's kind, each in a file. */
function writeAssets() {
  const builds = koffiBuilds().filter(([name]) => name.endsWith(`-${process.arch}`));
  return Object.fromEntries(
    builds.map(([name, base64]) => {
      const path = join(folder, name);
      writeFileSync(path, base64);
      return [name, path];
    }),
  );
}

function run(command, args) {
  const { error, status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')} failed: ${error?.message ?? `${stdout}${stderr}`.trim()}`);
}
