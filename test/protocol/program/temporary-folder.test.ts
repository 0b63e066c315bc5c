import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makeTemporaryFolder, pidNamespace } from '../../../protocol/program/temporary-folder.js';
import { temporaryFolder } from '../transport/fixtures/pairs.js';

t.test('a folder for this process alone, which goes when it is removed', async (t) => {
  const before = process.listeners('exit');
  const folder = makeTemporaryFolder();
  t.equal(statSync(folder.path).mode & 0o777, 0o700);
  writeFileSync(join(folder.path, 'file'), '');
  folder.remove();
  t.notOk(existsSync(folder.path));
  t.same(process.listeners('exit'), before);
});

t.test('it goes with the process', async (t) => {
  const before = process.listeners('exit');
  const { path, remove } = makeTemporaryFolder(temporaryFolder(t));
  const [atExit] = process.listeners('exit').filter((listener) => !before.includes(listener));
  atExit?.(0);
  t.notOk(existsSync(path));
  remove();
});

t.test('what dead processes have left goes when the next one is made, and nothing else does', async (t) => {
  const parent = temporaryFolder(t);
  const { path, remove } = makeTemporaryFolder(parent);
  t.teardown(remove);
  const mine = readFileSync(join(path, 'owner'), 'utf8');
  const { pid: dead } = spawnSync('true');
  const leave = (name: string, owner?: string): string => {
    const folder = join(parent, name);
    mkdirSync(folder);
    if (owner !== undefined) writeFileSync(join(folder, 'owner'), owner);
    return folder;
  };
  const orphan = leave('portferry-orphan', mine.replace(/^\d+/, String(dead)));
  const kept = [
    path,
    leave('portferry-living', mine),
    leave('portferry-elsewhere', `${dead} pid:[1]\n`),
    leave('portferry-unowned'),
    leave('other', mine.replace(/^\d+/, String(dead))),
  ];
  symlinkSync(join(parent, 'nowhere'), join(parent, 'portferry-link'));
  makeTemporaryFolder(parent).remove();
  t.notOk(existsSync(orphan));
  for (const folder of kept) t.ok(existsSync(folder), folder);
});

t.test('where there are no namespaces, all processes are counted alike', async (t) => {
  t.equal(pidNamespace('/nowhere'), '');
});
