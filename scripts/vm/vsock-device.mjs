// Prints the path of vhost-device-vsock, which gives QEMU's VM a vsock device and connects that with unix sockets.
// cargo builds it if it is not in the cache, which takes some minutes; standard error says so.
//   node scripts/vm/vsock-device.mjs
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { cached, hashOf } from './cache.mjs';

const NAME = 'vhost-device-vsock';
const VERSION = '0.3.0';

try {
  const version = spawnSync('cargo', ['--version'], { encoding: 'utf8' });
  if (version.error) throw new Error(`there is no cargo (${version.error.code})`);
  const folder = cached(NAME, hashOf(VERSION, version.stdout, process.arch), install);
  console.log(join(folder, 'bin', NAME));
} catch (error) {
  console.error(`cannot have ${NAME} ${VERSION}: ${error.message}`);
  process.exitCode = 1;
}

function install(folder) {
  console.error(`${NAME}: cargo builds it, for some minutes`);
  const args = ['install', '--quiet', '--root', folder, '--version', VERSION, '--locked', NAME];
  const { status, stderr } = spawnSync('cargo', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`cargo install ended with ${status}: ${stderr}`);
}
