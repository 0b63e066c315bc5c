// npm runs this after it has installed what a checkout needs: builds the programs. Without the development
// dependencies (`npm ci --omit=dev`) there is no compiler, and what was built before is what there is.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

function isInstalled(name) {
  try {
    require.resolve(name);
    return true;
  } catch {
    return false;
  }
}

if (isInstalled('typescript') && isInstalled('esbuild')) await import('./build.mjs');
else console.log('nothing is built: the compiler is a development dependency (npm ci)');
