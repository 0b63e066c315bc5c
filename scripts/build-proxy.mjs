// Builds dist/guest/portferry-proxy, dockerd's userland proxy, for Linux: one static file. CC, CFLAGS and LDFLAGS
// say otherwise where they are set, as for a cross compiler, or to look for mistakes, and OUT where it is to be:
//   CFLAGS='-g -fsanitize=address,undefined' LDFLAGS= npm run build:proxy
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { CC = 'cc', CFLAGS = '-O2', LDFLAGS = '-static -s', OUT } = process.env;
const target = OUT ?? `${root}/dist/guest/portferry-proxy`;

const words = (text) => text.split(/\s+/).filter((word) => word !== '');
const { version } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'));
const sources = readdirSync(`${root}/guest/proxy`)
  .filter((name) => name.endsWith('.c'))
  .map((name) => `guest/proxy/${name}`);
const [compiler = 'cc', ...compilerArgs] = words(CC);
const args = [
  ...compilerArgs,
  ...['-std=c11', '-D_GNU_SOURCE', `-DPORTFERRY_VERSION="${version}"`],
  ...['-Wall', '-Wextra', '-Wpedantic', '-Wshadow', '-Wconversion', '-Werror'],
  ...words(CFLAGS),
  ...['-o', target, ...sources],
  ...words(LDFLAGS),
];

mkdirSync(dirname(target), { recursive: true });
const { error, status, signal } = spawnSync(compiler, args, { cwd: root, stdio: 'inherit' });
if (error?.code === 'ENOENT') {
  console.error(
    `cannot build portferry-proxy: there is no ${compiler} on PATH; install a C compiler (Debian: gcc libc6-dev), or name one in CC`,
  );
} else if (error) console.error(`cannot build portferry-proxy: ${compiler}: ${error.message}`);
else if (status !== 0) {
  console.error(
    `cannot build portferry-proxy: ${compiler} ended with ${status ?? signal}; it is a program for Linux, with a static libc (Debian: libc6-dev)`,
  );
}
process.exit(status ?? 1);
