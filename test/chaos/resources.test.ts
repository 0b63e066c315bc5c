import { mkdtempSync, rmSync, watch } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { freePort } from '../fixtures/free-ports.js';
import { holdingsOf } from './resources.js';

const options = process.platform === 'linux' ? {} : { skip: 'it looks into /proc, which Linux alone has' };

t.test('a watch on a folder counts while it is there, and not what libuv keeps of it', options, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'pf-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const before = holdingsOf(process.pid);
  const watcher = watch(folder, { persistent: false }, () => {});
  t.same(holdingsOf(process.pid).descriptors, { ...before.descriptors, watches: 1 });
  watcher.close();
  t.same(holdingsOf(process.pid), before);
});

t.test('a server counts as a listener, until it is closed', options, async (t) => {
  const port = await freePort();
  const before = holdingsOf(process.pid);
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.equal(holdingsOf(process.pid).listeners, before.listeners + 1);
  await new Promise((resolve) => server.close(resolve));
  t.same(holdingsOf(process.pid), before);
});
