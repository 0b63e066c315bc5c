import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { brotliCompressSync } from 'node:zlib';
import t from 'tap';
import {
  buildNames,
  chooseReader,
  loadCarriedKoffi,
  loadKoffi,
  readMaps,
} from '../../../guest/single-file/carried-koffi.js';
import { loadAddon } from '../../../guest/single-file/load-addon.js';
import { readComment } from '../../../guest/single-file/read-comment.js';
import { temporaryFolder } from '../../fixtures/programs.js';

/** koffi's own build for this machine. */
const KOFFI = (() => {
  const folder = `../../../node_modules/@koromix/koffi-${process.platform}-${process.arch}`;
  const names = [`${process.platform}_${process.arch}`, `musl_${process.arch}`];
  const found = names.map((name) => new URL(`${folder}/${name}/koffi.node`, import.meta.url));
  return /\/ld-musl-/.test(readMaps()) ? found[1] : found[0];
})() as URL;

t.test('an addon in memory is loaded, and nothing is left of its file', async (t) => {
  const folder = temporaryFolder(t);
  const addon = loadAddon(readFileSync(KOFFI), [join(folder, 'missing'), folder]);
  t.match(addon, { version: createRequire(import.meta.url)('koffi').version });
  t.same(readdirSync(folder), []);
});

t.test('what cannot be loaded says why, and leaves nothing either', async (t) => {
  const folder = temporaryFolder(t);
  t.throws(() => loadAddon(Buffer.from('no addon'), [folder]), /file too short|invalid|not a mach-o|slice/i);
  t.throws(() => loadAddon(readFileSync(KOFFI), []), { message: 'there is no folder to load it from' });
  t.same(readdirSync(folder), []);
});

t.test('the build for the C library in use is tried first', async (t) => {
  t.same(buildNames('linux', 'x64', ''), ['koffi-linux-x64', 'koffi-musl-x64']);
  t.same(buildNames('linux', 'arm64', '7f00 r-xp /lib/ld-musl-aarch64.so.1\n'), [
    'koffi-musl-arm64',
    'koffi-linux-arm64',
  ]);
  t.same(buildNames('darwin', 'arm64', ''), []);
  t.equal(readMaps('/nonexistent'), '');
});

t.test('carried builds are tried in turn', async (t) => {
  const carried = new Map([
    ['broken', brotliCompressSync(Buffer.from('no addon')).toString('base64')],
    ['whole', brotliCompressSync(readFileSync(KOFFI)).toString('base64')],
  ]);
  const read = (name: string): string | undefined => carried.get(name);
  const koffi = loadCarriedKoffi(read, ['absent', 'broken', 'whole'], [temporaryFolder(t)]);
  t.type(koffi.load, 'function');
  t.throws(() => loadCarriedKoffi(read, ['absent'], []), {
    message: 'this program carries no koffi for this machine',
  });
});

t.test('a script carries in comments', async (t) => {
  const path = join(temporaryFolder(t), 'script.mjs');
  writeFileSync(path, 'code("// one x");\n// one AAAA\n// two BBBB');
  t.equal(readComment(path, 'one'), 'AAAA');
  t.equal(readComment(path, 'two'), 'BBBB');
  t.equal(readComment(path, 'three'), undefined);
});

t.test('where there is no single executable, there are no assets', async (t) => {
  t.equal(chooseReader(true)('koffi-linux-x64'), undefined);
  t.equal(chooseReader(false)('koffi-linux-x64'), undefined, 'and this module has no such comment');
});

t.test('a module by itself carries nothing', async (t) => {
  t.throws(() => loadKoffi(), { message: 'this program carries no koffi for this machine' });
});
