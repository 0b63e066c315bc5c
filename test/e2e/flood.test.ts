import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ControlClient } from '../../host/control/client.js';
import { MAX_LEASE_REQUESTS } from '../../host/control/lease-server.js';
import { MAX_LEASES } from '../../host/forwards/leases.js';
import { CONTROL_SERVICE } from '../../protocol/services/control.js';
import { encodeGoAway, encodePing, encodePong, encodeReset } from '../../protocol/wire/extension.js';
import { Command, encodeOpen } from '../../protocol/wire/frame.js';
import { FEATURES, type Feature } from '../../protocol/wire/handshake.js';
import { Flood, handshake } from '../fixtures/attacker.js';
import { anyFrame, closeFrame, dataFrame, shutdownFrame, windowFrame } from '../protocol/fixtures/frames.js';
import { Pair } from './fixtures/pair.js';

/**
 * What a guest can repeat costs a bounded amount of memory and log, and the user's own commands answer meanwhile.
 */

/** How long (ms) the user's commands may take. */
const MOST_MS = 1_000;

/** What each flood sends at least (bytes), and how many commands are asked meanwhile. */
const LEAST_BYTES = 4 * 1024 * 1024;
const LEAST_COMMANDS = 5;
const MANY_COMMANDS = 30;

/** What the host may take in all (MiB): some 80 at rest, the most that is queued for a guest, and its windows. */
const MOST_MEMORY_MIB = 300;

/** Lines of the log that each flood may cost. */
const MOST_LINES = 10;

const FRAMES_A_ROUND = 2_000;
const NOBODY = { proto: 'tcp', ip: '127.0.0.1', port: 1 } as const;
const CONTROL = { proto: 'unix', path: CONTROL_SERVICE } as const;

/** The frames of one round, of `make` with a number that never comes again. */
const round =
  (make: (number: number) => Buffer) =>
  (at: number): Buffer =>
    Buffer.concat(Array.from({ length: FRAMES_A_ROUND }, (_, index) => make(at * FRAMES_A_ROUND + index)));

/** The same frame again and again. */
const same = (frame: Buffer): (() => Buffer) => {
  const bytes = Buffer.concat(Array.from({ length: FRAMES_A_ROUND }, () => frame));
  return () => bytes;
};

/** A lease, what it asks for, and its end. */
function lease(id: number, request: string): Buffer {
  return Buffer.concat([encodeOpen(id, CONTROL), dataFrame(id, Buffer.from(request)), closeFrame(id)]);
}

const PUT = (body: string): string =>
  `PUT /v1/lease HTTP/1.1\r\nhost: h\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

const FLOODS: [what: string, next: (round: number) => Buffer][] = [
  ['opens by the million, of what it may not dial', round((id) => encodeOpen(id, NOBODY))],
  ['opens, and their ends', round((id) => Buffer.concat([encodeOpen(id, NOBODY), closeFrame(id)]))],
  ['pings', same(encodePing(1))],
  ['pongs', same(encodePong(encodePing(1).subarray(7)))],
  ['small frames of data, for nobody', same(dataFrame(7, Buffer.from('x')))],
  ['windows, for nobody', same(windowFrame(7, 1))],
  ['resets, for nobody', same(encodeReset(7, { code: 'E', message: 'x'.repeat(500) }))],
  ['ends, for nobody', same(Buffer.concat([shutdownFrame(7), closeFrame(7)]))],
  ['that it goes away', same(encodeGoAway({ code: 'E', message: 'x'.repeat(500) }))],
  ['frames of a later version', same(anyFrame(Command.goAway + 9, 7, 100))],
  ['leases that come and go', round((id) => lease(id, PUT('{"publisher":"p","forwards":[]}')))],
  [
    'leases that ask for what they do not get',
    round((id) =>
      lease(id, PUT('{"publisher":"p","forwards":[{"proto":"unix","out_path":"/etc/x","in_path":"/x"}]}')),
    ),
  ],
  ['leases that are no HTTP', round((id) => lease(id, '\0\n\n'))],
];

/** The most memory (MiB) that a process has had so far; 0 where the system does not tell. */
function mostMemory(pid: number | undefined): number {
  if (process.platform !== 'linux') return 0;
  return Math.round(
    Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024,
  );
}

/** A guest that has done its handshake, and reads and throws away what comes. */
async function connect(t: Test, path: string, features?: readonly Feature[]): Promise<net.Socket> {
  const socket = net.connect(path).on('error', () => {});
  t.teardown(() => socket.destroy());
  socket.write(handshake(features));
  await once(socket, 'data');
  return socket.resume();
}

/** Floods a host, and asks it meanwhile. @returns how long (ms) an answer took at most */
async function longestAnswer(
  t: Test,
  control: ControlClient,
  channel: string,
  next: (round: number) => Buffer,
): Promise<number> {
  const socket = await connect(t, channel);
  const flood = new Flood(socket, next);
  let longest = 0;
  for (
    let commands = 0;
    !socket.destroyed && (flood.sent < LEAST_BYTES || commands < LEAST_COMMANDS);
    commands++
  ) {
    const asked = performance.now();
    await (commands % 2 === 0 ? control.status() : control.forwards());
    longest = Math.max(longest, performance.now() - asked);
  }
  flood.stop();
  socket.destroy();
  return longest;
}

t.test('while the guest does its worst, the user’s commands answer', async (t) => {
  const pair = new Pair(t);
  pair.startHost('--forward', '127.0.0.1:0:1');
  await pair.host.line(/^tcp /);
  const control = new ControlClient(pair.control);
  await control.status();
  for (const [what, next] of FLOODS) {
    const lines = pair.host.lines.length;
    let longest = Number.POSITIVE_INFINITY;
    // What else this machine does can only add to it: the best of three counts.
    for (let tries = 0; tries < 3 && longest >= MOST_MS; tries++) {
      longest = Math.min(longest, await longestAnswer(t, control, join(pair.folder, 'channel.sock'), next));
    }
    await control.status();
    const logged = pair.host.lines.length - lines;
    t.ok(longest < MOST_MS, `${what}: answers take ${Math.round(longest)} ms at most`);
    t.ok(logged <= MOST_LINES, `${what}: ${logged} lines`);
  }
  t.ok(mostMemory(pair.host.child.pid) < MOST_MEMORY_MIB, `${mostMemory(pair.host.child.pid)} MiB`);
  t.equal((await control.forwards()).length, 1);
});

/** Requests for one lease, as many as may wait, none of which is small for its size. */
const REQUESTS: readonly string[] = [
  PUT(JSON.stringify({ publisher: 'p', forwards: Array(5_000).fill(1) })),
  'GET /forwards/list HTTP/1.1\r\nhost: h\r\n\r\n'.repeat(MAX_LEASE_REQUESTS),
  'GET /nothing HTTP/1.1\r\nhost: h\r\n\r\n'.repeat(MAX_LEASE_REQUESTS),
  PUT('{"publisher":"p","forwards":[]}').repeat(MAX_LEASE_REQUESTS),
];

/** All leases that there may be, and what each asks for. */
function leasesAtWork(): Buffer {
  const requests = REQUESTS.map((text) => Buffer.from(text));
  const ids = Array.from({ length: MAX_LEASES }, (_, id) => id);
  return Buffer.concat([
    ...ids.map((id) => Buffer.concat([encodeOpen(id, CONTROL), windowFrame(id, 2 ** 30)])),
    ...ids.map((id) => dataFrame(id, requests[id % requests.length] as Buffer)),
  ]);
}

t.test('while a guest has all the leases it may, and asks on each of them, commands answer', async (t) => {
  const pair = new Pair(t);
  pair.startHost('--forward', '127.0.0.1:0:1');
  await pair.host.line(/^tcp /);
  const control = new ControlClient(pair.control);
  await control.status();
  const bytes = leasesAtWork();
  let longest = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < 3 && longest >= MOST_MS; tries++) {
    // It answers no pings, and is not to be found silent.
    const socket = await connect(
      t,
      join(pair.folder, 'channel.sock'),
      FEATURES.filter((feature) => feature !== 'ping'),
    );
    socket.write(bytes);
    let longestNow = 0;
    for (let commands = 0; commands < MANY_COMMANDS; commands++) {
      const asked = performance.now();
      await (commands % 2 === 0 ? control.status() : control.forwards());
      longestNow = Math.max(longestNow, performance.now() - asked);
    }
    t.notOk(socket.destroyed);
    t.match(await control.status(), { channel: { state: 'connected', streams: MAX_LEASES } });
    longest = Math.min(longest, longestNow);
    socket.destroy();
  }
  t.ok(longest < MOST_MS, `answers take ${Math.round(longest)} ms at most`);
  t.ok(mostMemory(pair.host.child.pid) < MOST_MEMORY_MIB, `${mostMemory(pair.host.child.pid)} MiB`);
});

t.test('a guest that floods and does not read: its channel ends, and memory is bounded', async (t) => {
  const pair = new Pair(t);
  pair.startHost('--forward', '127.0.0.1:0:1');
  await pair.host.line(/^tcp /);
  const socket = await connect(t, join(pair.folder, 'channel.sock'));
  socket.pause();
  const flood = new Flood(socket, same(encodePing(1)));
  await pair.host.line(/PEER_DOES_NOT_READ/);
  flood.stop();
  t.ok(mostMemory(pair.host.child.pid) < MOST_MEMORY_MIB, `${mostMemory(pair.host.child.pid)} MiB`);
});
