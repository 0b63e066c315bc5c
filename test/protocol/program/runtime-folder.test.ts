import { chmodSync, chownSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import t from 'tap';
import {
  dashboardTokenPath,
  defaultChannelAddress,
  defaultControlPath,
  ensureFolder,
  runtimeFolder,
} from '../../../protocol/program/runtime-folder.js';
import { temporaryFolder } from '../transport/fixtures/pairs.js';

const HOME = '/home/ann';
const XDG_RUNTIME_DIR = '/run/user/1000';

t.test('runtimeFolder: by environment, platform and user', async (t) => {
  const chosen = { PORTFERRY_RUNTIME_DIR: '/srv/pf', XDG_RUNTIME_DIR, HOME };
  t.equal(runtimeFolder(chosen, 'linux', 0), '/srv/pf');
  t.equal(runtimeFolder({ PORTFERRY_RUNTIME_DIR: 'pf' }, 'linux', 0), resolve('pf'));
  t.equal(runtimeFolder({ XDG_RUNTIME_DIR, HOME }, 'linux', 0), '/run/user/1000/portferry');
  t.equal(runtimeFolder({ XDG_RUNTIME_DIR: 'relative', HOME }, 'linux', 1000), '/home/ann/.portferry/run');
  t.equal(runtimeFolder({ PORTFERRY_RUNTIME_DIR: '', HOME }, 'linux', 1000), '/home/ann/.portferry/run');
  t.equal(runtimeFolder({ HOME }, 'linux', 0), '/run/portferry');
  t.equal(runtimeFolder({ HOME: '/Users/ann' }, 'darwin', 501), '/Users/ann/.portferry/run');
  t.equal(runtimeFolder({ HOME: '/var/root' }, 'darwin', 0), '/var/run/portferry');
  t.equal(runtimeFolder({}, 'linux', 1000), join(homedir(), '.portferry', 'run'));
  t.type(runtimeFolder(), 'string');
});

t.test('the default sockets are in it', async (t) => {
  const env = { PORTFERRY_RUNTIME_DIR: '/srv/pf' };
  t.same(defaultChannelAddress(env), { kind: 'unix', path: '/srv/pf/channel.sock' });
  t.equal(defaultControlPath(env), '/srv/pf/control.sock');
  t.same(defaultChannelAddress(), { kind: 'unix', path: join(runtimeFolder(), 'channel.sock') });
  t.equal(defaultControlPath(), join(runtimeFolder(), 'control.sock'));
});

t.test('the dashboard’s token is beside the control socket, unless others can look there', async (t) => {
  const folder = temporaryFolder(t);
  const env = { PORTFERRY_RUNTIME_DIR: '/run/x' };
  const beside = join(folder, 'dashboard-token');
  t.equal(dashboardTokenPath(join(folder, 'c.sock'), env), beside);
  t.equal(dashboardTokenPath(join(folder, 'new/c.sock'), env), join(folder, 'new/dashboard-token'));
  chmodSync(folder, 0o750);
  t.equal(dashboardTokenPath(join(folder, 'c.sock'), env), '/run/x/dashboard-token');
  t.equal(dashboardTokenPath('/proc/c.sock', env), '/run/x/dashboard-token');
  t.equal(dashboardTokenPath('c.sock'), dashboardTokenPath(resolve('c.sock')));
});

t.test('ensureFolder: makes it for its user alone, parents too, and again without harm', async (t) => {
  const path = join(temporaryFolder(t), 'a', 'b');
  ensureFolder(path);
  ensureFolder(path);
  t.equal(lstatSync(path).mode & 0o777, 0o700);
  t.equal(lstatSync(join(path, '..')).mode & 0o777, 0o700);
});

t.test('ensureFolder: leaves the mode of a folder that exists', async (t) => {
  const path = temporaryFolder(t);
  chmodSync(path, 0o755);
  ensureFolder(path);
  t.equal(lstatSync(path).mode & 0o777, 0o755);
});

t.test('ensureFolder: refuses what is no folder', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'file'), '');
  symlinkSync(join(folder, 'absent'), join(folder, 'dangling'));
  t.throws(() => ensureFolder(join(folder, 'file')), {
    name: 'OperationError',
    message: `cannot use the folder ${folder}/file: it is not a folder; choose another one with PORTFERRY_`,
  });
  t.throws(() => ensureFolder(join(folder, 'file', 'sub')), { name: 'OperationError', message: /ENOTDIR/ });
  t.throws(() => ensureFolder(join(folder, 'dangling')), { name: 'OperationError', message: /ENOENT/ });
});

t.test('ensureFolder: refuses a folder of another user', async (t) => {
  const nobody = 65534;
  let path = '/usr';
  if (process.getuid?.() === 0) {
    path = temporaryFolder(t);
    chownSync(path, nobody, nobody);
  }
  t.throws(() => ensureFolder(path), {
    name: 'OperationError',
    message: /: it belongs to user \d+, and this is user \d+; choose another one/,
  });
});

t.test('ensureFolder: refuses a folder in which every user may replace files', async (t) => {
  const path = join(temporaryFolder(t), 'open');
  mkdirSync(path);
  chmodSync(path, 0o777);
  t.throws(() => ensureFolder(path), { name: 'OperationError', message: /chmod 0700 it/ });
  chmodSync(path, 0o1777);
  ensureFolder(path);
});
