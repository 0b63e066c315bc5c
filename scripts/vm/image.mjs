// Prints the folder with the VM's kernel, initramfs and root file system. They are made if they are not in the
// cache, which takes some ten seconds and 100 MB to download; standard error says so. It needs Debian's apt-get.
//   node scripts/vm/image.mjs
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { cached, hashOf } from './cache.mjs';

const script = (name) => fileURLToPath(new URL(name, import.meta.url));
const run = (name, ...args) => execFileSync(script(name), args, { stdio: ['ignore', 'pipe', 'inherit'] });

try {
  const sources = ['packages.txt', 'list-packages.sh', 'build-image.sh', 'early-init.sh', 'init.sh'];
  const hash = hashOf(
    run('list-packages.sh'),
    ...[...sources.map(script), process.execPath].map((path) => readFileSync(path)),
  );
  console.log(cached('image', hash, (folder) => run('build-image.sh', folder, process.execPath)));
} catch (error) {
  console.error(`cannot make the VM's image: ${error.message}`);
  process.exitCode = 1;
}
