/**
 * Hooks by which Node loads the project's TypeScript. What a file was turned into is kept by its content, for each
 * test file is a process of its own: they would all load the compiler, and hand it the same few hundred files.
 */

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const KEPT = fileURLToPath(new URL('../../node_modules/.cache/portferry-tests/', import.meta.url));
const COMPILER = createRequire(import.meta.url)('typescript/package.json').version;
const TYPESCRIPT = /\.ts($|\?)/;

/** An import of `./name.js` means `./name.ts` where there is one, as TypeScript has it. */
export function resolve(specifier, context, next) {
  const source = specifier.replace(/\.js($|\?)/, '.ts$1');
  if (source !== specifier && /^(\.|file:)/.test(source) && existsSync(new URL(source, context.parentURL)))
    return next(source, context);
  return next(specifier, context);
}

export async function load(url, context, next) {
  if (!url.startsWith('file:') || !TYPESCRIPT.test(url)) return next(url, context);
  const { source } = await next(url, { ...context, format: 'module' });
  return { format: 'module', source: await compiled(fileURLToPath(url), String(source)), shortCircuit: true };
}

/** @returns the file's JavaScript, with a source map at its end */
async function compiled(path, source) {
  const name = createHash('sha256').update(`${COMPILER}\n${path}\n${source}`).digest('hex');
  const kept = join(KEPT, name);
  try {
    return await readFile(kept, 'utf8');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  const output = await compile(path, source);
  await mkdir(KEPT, { recursive: true });
  // Whole or not at all: other processes read it at the same time.
  const partial = `${kept}.${process.pid}`;
  await writeFile(partial, output);
  await rename(partial, kept);
  return output;
}

async function compile(path, source) {
  const { default: ts } = await import('typescript');
  const { outputText } = ts.transpileModule(source, {
    fileName: path,
    compilerOptions: {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      inlineSourceMap: true,
      inlineSources: true,
    },
  });
  return outputText;
}
