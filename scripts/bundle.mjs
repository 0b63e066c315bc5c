// How the programs are bundled: what `npm run build` and `npm run build:executable` have in common.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants } from 'node:zlib';
import { build } from 'esbuild';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
export const DIST = join(ROOT, 'dist');

export const { version: VERSION } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

/** Modules that a build puts others in the place of. */
const VERSION_MODULE = join(ROOT, 'protocol/program/version.ts');
const KOFFI_MODULE = join(ROOT, 'protocol/socket/koffi.ts');
const CARRIED_KOFFI_MODULE = join(ROOT, 'guest/single-file/carried-koffi.ts');

/** The version comes from the build: a program reads no package.json. */
const versionFromBuild = {
  name: 'version-from-build',
  setup({ onLoad }) {
    const version = JSON.stringify(VERSION);
    onLoad({ filter: /program\/version\.ts$/ }, ({ path }) =>
      path === VERSION_MODULE
        ? { contents: `export const VERSION = ${version}; export const readVersion = () => VERSION;` }
        : undefined,
    );
  },
};

/** A program of one file has no node_modules beside it, and carries koffi itself. */
export const carriedKoffi = {
  name: 'carried-koffi',
  setup({ onResolve }) {
    onResolve({ filter: /\/koffi\.js$/ }, ({ path, resolveDir }) =>
      resolve(resolveDir, path).replace(/js$/, 'ts') === KOFFI_MODULE
        ? { path: CARRIED_KOFFI_MODULE }
        : undefined,
    );
  },
};

/** CommonJS has no import.meta: `bundleUrl` stands for the URL of the file that the bundle lies in. */
export const COMMON_JS = {
  format: 'cjs',
  // Strict, as ES modules are. Not node:url, which an old Node.js does not find.
  banner: { js: "'use strict'; const bundleUrl = require('url').pathToFileURL(__filename).href;" },
  define: { 'import.meta.url': 'bundleUrl', 'import.meta.filename': '__filename' },
  // Node's import() would load the loader of ES modules.
  supported: { 'dynamic-import': false },
};

/**
 * A module that is bundled into a file of dist/FOLDER believes that it lies where it was compiled to: what it finds
 * beside itself, such as main.js, is there.
 */
export const ownPlace = (folder) => ({
  name: 'own-place',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const source = readFileSync(path, 'utf8');
      if (!source.includes('import.meta.url')) return undefined;
      const place = relative(join(ROOT, folder), path).replace(/ts$/, 'js');
      const contents = source.replaceAll('import.meta.url', `new URL('${place}', import.meta.url).href`);
      return { contents, loader: 'ts' };
    });
  },
});

/** Node's own modules that a run may never need: each takes some 0.1 to 1.5 MiB. */
const LATE_BUILTINS = [
  'crypto',
  'dns/promises',
  'fs/promises',
  'http',
  'readline',
  'timers/promises',
  'tty',
  'zlib',
];

/** Loads them when something of theirs is first used, and not when whoever imports them is loaded. */
const lateBuiltins = {
  name: 'late-builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path, namespace }) =>
      namespace !== 'late-builtin' && LATE_BUILTINS.includes(path.slice('node:'.length))
        ? { path, namespace: 'late-builtin' }
        : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'late-builtin' }, ({ path }) => {
      const names = Object.keys(process.getBuiltinModule(path));
      const getters = names.map((name) => `get ${name}() { return load().${name}; }`);
      return {
        contents: `const load = () => require('${path}'); module.exports = { ${getters.join(', ')} };`,
      };
    });
  },
};

/** No log line goes through a thread, which is what pino's transports are for: they would only be loaded. */
const noLogThreads = {
  name: 'no-log-threads',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]pino[\\/]lib[\\/]transport\.js$/ }, () => ({
      contents: "module.exports = () => { throw new Error('pino has no transports here'); };",
    }));
  },
};

/** Bundles for Node.js. Names stay as they are: they are what a stack shows. */
export function bundle(options) {
  return build({
    absWorkingDir: ROOT,
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    target: 'node20.19',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    external: ['koffi'],
    logLevel: 'warning',
    ...options,
    plugins: [versionFromBuild, lateBuiltins, noLogThreads, ...(options.plugins ?? [])],
  });
}

/** Puts the line that a shell runs where it was, behind the first one: the bundler takes it for a comment. */
export function withShellLine(text, main) {
  const [, shellLine] = readFileSync(join(ROOT, main), 'utf8').split('\n');
  const firstLineEnd = text.indexOf('\n');
  return `${text.slice(0, firstLineEnd)}\n${shellLine}${text.slice(firstLineEnd)}`;
}

/** What the single programs carry of koffi: its builds for Linux that are installed, as [name, base64]. */
export function koffiBuilds() {
  const scope = join(ROOT, 'node_modules/@koromix');
  const packages = readdirSync(scope).filter((name) => name.startsWith('koffi-linux-'));
  return packages.flatMap((name) =>
    readdirSync(join(scope, name), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => [
        `koffi-${entry.name.replace('_', '-')}`,
        compress(readFileSync(join(scope, name, entry.name, 'koffi.node'))),
      ]),
  );
}

function compress(bytes) {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  return brotliCompressSync(bytes, { params }).toString('base64');
}

/** The licences of the packages that a bundle contains: they ask to be passed on. */
export function licences(metafiles) {
  const inputs = new Set(metafiles.flatMap((metafile) => Object.keys(metafile.inputs)));
  const packages = new Set(
    [...inputs].flatMap((path) => /^node_modules\/(@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []),
  );
  // Its addon goes into the guest's single file.
  packages.add('node_modules/koffi');
  return [...packages].sort().map(describeLicence).join('\n\n');
}

function describeLicence(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8'));
  const file = readdirSync(join(ROOT, folder)).find((entry) => /^(licen[cs]e|copying)/i.test(entry));
  const text = file === undefined ? '' : readFileSync(join(ROOT, folder, file), 'utf8').trim();
  return `== ${name} ${version} (${license})\n\n${text}`.trim();
}
