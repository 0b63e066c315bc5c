// Bundles the dashboard's page: what a browser gets. Part of npm run build.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { bundle, DIST, ROOT } from './bundle.mjs';

const SOURCE = join(ROOT, 'host/dashboard/page');
const TARGET = join(DIST, 'host/dashboard/page');

/** Modules that both ends use name Node's own; what the page takes of them needs none. */
const withoutNode = {
  name: 'without-node',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: 'node', sideEffects: false }));
    onLoad({ filter: /.*/, namespace: 'node' }, () => ({ contents: 'module.exports = {};' }));
  },
};

/**
 * Writes the page into dist. Its files are named by their content, so that a browser may keep them.
 * @returns what it is made of, as esbuild has it
 */
export async function bundlePage() {
  const { outputFiles, metafile } = await bundle({
    entryPoints: [join(SOURCE, 'main.ts')],
    outdir: TARGET,
    format: 'esm',
    platform: 'browser',
    target: ['es2022', 'chrome111', 'firefox114', 'safari16.4'],
    tsconfig: join(SOURCE, 'tsconfig.json'),
    minify: true,
    plugins: [withoutNode],
  });
  rmSync(TARGET, { recursive: true, force: true });
  mkdirSync(TARGET, { recursive: true });
  let index = readFileSync(join(SOURCE, 'index.html'), 'utf8');
  const files = [
    ...outputFiles.map(({ path, contents }) => ({ name: basename(path), contents })),
    { name: 'icon.svg', contents: readFileSync(join(SOURCE, 'icon.svg')) },
  ];
  for (const { name, contents } of files) {
    const hash = createHash('sha256').update(contents).digest('hex').slice(0, 8);
    const hashed = name.replace(extname(name), `-${hash}$&`);
    if (!index.includes(`"/${name}"`)) throw new Error(`index.html does not name ${name}`);
    index = index.replace(`"/${name}"`, `"/${hashed}"`);
    writeFileSync(join(TARGET, hashed), contents);
  }
  writeFileSync(join(TARGET, 'index.html'), index);
  return metafile;
}
