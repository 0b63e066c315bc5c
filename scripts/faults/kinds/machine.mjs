// What the machine itself does not give: a port, room on a disk, a reader of the log.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as passing } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ROOT } from '../../bundle.mjs';
import { Client, works } from '../client.mjs';
import { freeEndpoint } from '../ports.mjs';
import { again, endingOf, time } from '../words.mjs';
import { hasHalves, RECOVERY_MS, SOON_MS, see } from './common.mjs';

const portTaken = {
  id: 'port-taken',
  text: 'the port on the host is taken',
  lacks: hasHalves,
  began: false,
  async options() {
    const endpoint = await freeEndpoint();
    const holder = net.createServer().listen(endpoint);
    await once(holder, 'listening');
    return { endpoint, holder };
  },
  async make(scene, { holder }) {
    const { host, guest, halves } = scene.running;
    if (halves[0] === guest) await guest.start();
    const at = performance.now();
    const refused = new Promise((resolve) => {
      // Whoever holds the port accepts, so that a program that has started says nothing yet.
      host.start().catch(({ message }) => resolve(message));
      void host.ended().then((code) => resolve(`exit code ${code}`));
    });
    const reason = await Promise.race([refused, passing(SOON_MS)]);
    const ms = performance.now() - at;
    const says = await scene.says(at);
    await host.end();
    holder.close();
    const named = says.some((line) => line.includes(String(process.pid)));
    return { seen: reason === undefined ? 'nothing' : 'refused', ms, named, says: [...says, reason ?? ''] };
  },
  cell: ({ ms, named }) => `said after ${time(ms.median)}${named.median ? ', with who holds it' : ''}`,
};

const logFull = {
  id: 'log-full',
  text: 'the log cannot be written: its disk is full',
  lacks: hasHalves,
  options() {
    const full = openSync('/dev/full', 'w');
    return { options: { stdio: ['ignore', full, full] } };
  },
  make: servesWithoutLog,
  cell: cellWithoutLog,
};

const logUnread = {
  id: 'log-unread',
  text: 'who reads the log is gone',
  lacks: hasHalves,
  async make(scene) {
    for (const half of scene.running.halves) half.closeLog();
    return servesWithoutLog(scene);
  },
  cell: cellWithoutLog,
};

/** A client whose destination refuses gives something to log; whether others are served then is what matters. */
async function servesWithoutLog(scene) {
  const starts = () => scene.running.halves.reduce((sum, half) => sum + half.starts, 0);
  const before = starts();
  await scene.destination.kill();
  await new Client(scene.endpoint, 'echo').end(SOON_MS);
  await scene.destination.start();
  const at = performance.now();
  const seen = await see(new Client(scene.endpoint, 'download - 100000'), SOON_MS, at, 100_000);
  const worksMs = await works(scene.endpoint, RECOVERY_MS, at);
  return { ...seen, worksMs, ended: starts() - before };
}

function cellWithoutLog({ ended, ...summary }) {
  const died = ended.worst > 0 ? `; ${ended.worst} of its programs ended, at worst` : '';
  return `${endingOf(summary)}; ${again(summary.worksMs)}${died}`;
}

/** portferry's alone; the disk is one of the host's own, so that only root can try it. */
const stateFull = {
  id: 'state-full',
  text: 'the disk with the file of forwards is full when one is exposed',
  lacks: (name) => {
    if (name !== 'portferry') return name === 'direct' ? 'has no halves' : 'keeps no such file';
    return process.getuid?.() === 0 ? undefined : 'only root can mount a small disk';
  },
  options(folder) {
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    const mount = `mount -t tmpfs -o size=64k disk '${disk}' && exec "$@"`;
    return {
      wrap: ['unshare', '-m', 'sh', '-c', mount, 'sh'],
      hostArgs: ['--state', join(disk, 'forwards.json')],
      disk,
    };
  },
  async make(scene, { disk }) {
    const filler = `/proc/${scene.running.host.pid}/root${disk}/filler`;
    fill(filler);
    const at = performance.now();
    const refused = await expose(scene);
    const ms = performance.now() - at;
    const worksMs = await works(scene.endpoint, RECOVERY_MS, at);
    rmSync(filler);
    const room = await expose(scene);
    const told = (text) => text.includes('will not outlast a restart');
    return { seen: told(refused) && !told(room) ? 'said' : 'NOT SAID', ms, worksMs, says: [refused] };
  },
};

/** Writes until the disk is full. */
function fill(path) {
  const file = openSync(path, 'w');
  try {
    for (;;) writeSync(file, Buffer.alloc(1024));
  } catch {
    // It is.
  } finally {
    closeSync(file);
  }
}

/** What `portferry expose` says, in all. @throws when it fails */
async function expose({ running, destination }) {
  const main = join(ROOT, 'dist/host/main.js');
  const args = ['expose', `0:${destination.endpoint.port}`, '--control', running.control];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [main, ...args]);
  return `${stderr}${stdout}`.trim();
}

export const MACHINE = [portTaken, logFull, logUnread, stateFull];
