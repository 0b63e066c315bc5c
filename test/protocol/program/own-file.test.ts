import { execFileSync } from 'node:child_process';
import { closeSync, constants, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openOwnFile, readOwnFile } from '../../../protocol/program/own-file.js';

t.test('a file of this user’s is read, with its mode', async (t) => {
  const folder = t.testdir({ file: 'text' });
  t.match(readOwnFile(join(folder, 'file')), { text: 'text', mode: Number });
  t.equal(readOwnFile(join(folder, 'none')), undefined);
});

t.test('what others may have put there is neither read, nor followed, nor waited for', async (t) => {
  const folder = t.testdir({ file: 'text' });
  symlinkSync(join(folder, 'file'), join(folder, 'link'));
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  t.throws(() => readOwnFile(join(folder, 'link')), { code: 'ELOOP' });
  t.throws(() => readOwnFile(join(folder, 'pipe')), { message: 'it is no file' });
  t.throws(() => readOwnFile(folder), { message: 'it is no file' });
  t.intercept(process, 'getuid', { value: () => 4711 });
  t.throws(() => readOwnFile(join(folder, 'file')), { message: /^it belongs to user \d+$/ });
});

t.test('a file that is made has the mode, and a device may be anybody’s', async (t) => {
  const path = join(t.testdir({}), 'made');
  const { fd, stats } = openOwnFile(path, constants.O_WRONLY | constants.O_CREAT, 0o600);
  closeSync(fd);
  t.equal(stats.mode & 0o777, 0o600);
  t.equal(readFileSync(path, 'utf8'), '');
  t.intercept(process, 'getuid', { value: () => 4711 });
  closeSync(openOwnFile('/dev/null', constants.O_WRONLY).fd);
});
