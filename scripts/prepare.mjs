// npm runs this after it has installed what a checkout needs: builds the programs. Without the development
// dependencies (`npm ci --omit=dev`) there is no compiler, and what was built before is what there is.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

function findCompiler() {
  try {
    return require.resolve('typescript/bin/tsc');
  } catch {
    return undefined;
  }
}

const compiler = findCompiler();
if (compiler === undefined)
  console.log('nothing is built: the compiler is a development dependency (npm ci)');
else
  process.exitCode =
    spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], { stdio: 'inherit' }).status ?? 1;
