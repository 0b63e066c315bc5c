import { EventEmitter } from 'node:events';
import { type FSWatcher, mkdirSync, rmSync, symlinkSync, type watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { SocketWatch } from '../../../guest/docker/socket-watch.js';
import { temporaryFolder } from '../../fixtures/programs.js';

// A watch alone keeps no process running.
const kept = setInterval(() => {}, 1_000);
t.teardown(() => clearInterval(kept));

function watchFor(t: Test, path: string): SocketWatch {
  const made = new SocketWatch(path);
  t.teardown(() => made.close());
  t.equal(made.problem, undefined);
  return made;
}

t.test('it notices that the socket appears', async (t) => {
  const path = join(temporaryFolder(t), 'docker.sock');
  const { touched } = watchFor(t, path);
  writeFileSync(path, '');
  await touched;
});

t.test('where its folder is missing, that the folder appears', async (t) => {
  const folder = join(temporaryFolder(t), 'run', 'docker');
  const first = watchFor(t, join(folder, 'docker.sock'));
  mkdirSync(folder, { recursive: true });
  await first.touched;
  const second = watchFor(t, join(folder, 'docker.sock'));
  writeFileSync(join(folder, 'docker.sock'), '');
  await second.touched;
  const third = watchFor(t, join(folder, 'docker.sock'));
  rmSync(folder, { recursive: true });
  await third.touched;
});

t.test('and what becomes of the file that it links to', async (t) => {
  const [link, target] = [join(temporaryFolder(t), 'docker.sock'), join(temporaryFolder(t), 'real.sock')];
  symlinkSync(target, link);
  const { touched } = watchFor(t, link);
  writeFileSync(target, '');
  await touched;
});

t.test('links in a ring end', (t) => {
  const folder = temporaryFolder(t);
  symlinkSync(join(folder, 'b'), join(folder, 'a'));
  symlinkSync(join(folder, 'a'), join(folder, 'b'));
  watchFor(t, join(folder, 'a'));
  t.end();
});

t.test('other files of the folder do not matter, nor do their events; an unnamed one may', async (t) => {
  const folder = temporaryFolder(t);
  const told: ((event: string, name: string | null) => void)[] = [];
  const watcher = new EventEmitter() as FSWatcher;
  watcher.close = () => {};
  const watchFolder = ((_folder: string, _options: object, listener: (typeof told)[0]) => {
    told.push(listener);
    return watcher;
  }) as typeof watch;
  let touched = 0;
  const made = new SocketWatch(join(folder, 'docker.sock'), watchFolder);
  const noticed = made.touched.then(() => touched++);
  told[0]?.('change', 'docker.pid');
  await new Promise(setImmediate);
  t.equal(touched, 0);
  told[0]?.('rename', null);
  await noticed;
  const failing = new SocketWatch(join(folder, 'docker.sock'), watchFolder);
  watcher.emit('error', new Error('the folder cannot be watched any more'));
  await failing.touched;
});

t.test('where nothing can be watched it is looked at after a while', async (t) => {
  const none = (() => {
    throw new Error('ENOSPC: System limit for number of file watchers reached');
  }) as typeof watch;
  const soon = new SocketWatch(join(temporaryFolder(t), 'docker.sock'), none, 1);
  t.match(soon.problem, /ENOSPC/);
  await soon.touched;
  soon.close();
  const later = new SocketWatch('/docker.sock', none);
  later.close();
  await later.touched;
});
