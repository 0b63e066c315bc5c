import fs, {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { isSameToken, keepToken } from '../../../host/dashboard/token.js';

t.test('a token is made once, for its user alone', async (t) => {
  const folder = join(t.testdir(), 'run');
  const path = join(folder, 'dashboard-token');
  const token = keepToken(path);
  t.match(token, /^[\w-]{43}$/);
  t.equal(keepToken(path), token);
  t.equal(readFileSync(path, 'utf8'), token);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.equal(statSync(folder).mode & 0o777, 0o700);
  t.same(readdirSync(folder), ['dashboard-token'], 'no draft is left');
  t.not(keepToken(join(t.testdir(), 'dashboard-token')), token);
});

t.test('of two hosts that start together the first has made it', async (t) => {
  const path = join(t.testdir(), 'token');
  const { keepToken } = await t.mockImport<typeof import('../../../host/dashboard/token.js')>(
    '../../../host/dashboard/token.js',
    {
      'node:fs': t.createMock(fs, {
        linkSync(from: string, to: string) {
          fs.writeFileSync(to, 'a'.repeat(43), { mode: 0o600 });
          fs.linkSync(from, to);
        },
      }),
    },
  );
  t.equal(keepToken(path), 'a'.repeat(43));
  t.same(readdirSync(t.testdirName), ['token']);
});

t.test('a file that is not as it should be is left alone', async (t) => {
  const folder = t.testdir({ open: 'a'.repeat(43), short: 'abc' });
  chmodSync(join(folder, 'short'), 0o600);
  chmodSync(join(folder, 'open'), 0o644);
  for (const name of ['open', 'short'])
    t.throws(() => keepToken(join(folder, name)), {
      name: 'OperationError',
      message: /does not hold the dashboard's token, for this user alone \(mode 0600\): remove it/,
    });
  writeFileSync(join(folder, 'real'), 'a'.repeat(43), { mode: 0o600 });
  symlinkSync(join(folder, 'real'), join(folder, 'link'));
  t.throws(() => keepToken(join(folder, 'link')), { name: 'OperationError', message: /cannot keep .*ELOOP/ });
  mkdirSync(join(folder, 'loop'));
  t.throws(() => keepToken(join(folder, 'short', 'x')), {
    name: 'OperationError',
    message: /cannot use the folder/,
  });
});

t.test('what cannot be made is said', async (t) => {
  const path = join(t.testdir(), 'token');
  const { keepToken } = await t.mockImport<typeof import('../../../host/dashboard/token.js')>(
    '../../../host/dashboard/token.js',
    {
      'node:fs': t.createMock(fs, {
        linkSync() {
          throw Object.assign(new Error('no links here'), { code: 'EPERM' });
        },
      }),
    },
  );
  t.throws(() => keepToken(path), { name: 'OperationError', message: /cannot keep .*no links here/ });
  t.same(readdirSync(t.testdirName), []);
});

t.test('tokens are compared whole', async (t) => {
  t.equal(isSameToken('abc', 'abc'), true);
  for (const other of ['', 'ab', 'abd', 'abcd']) t.equal(isSameToken(other, 'abc'), false);
});
