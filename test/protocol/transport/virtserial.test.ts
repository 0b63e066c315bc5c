import { mkdirSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import { settings } from '../../../protocol/socket/settings.js';
import { connectChannel } from '../../../protocol/transport/connect-channel.js';
import { LineSocket } from '../../../protocol/transport/line-socket.js';
import { connectLine, type LineOptions } from '../../../protocol/transport/virtserial.js';
import { encodeLineMessage } from '../../../protocol/wire/line.js';
import { LineRelay } from './fixtures/line-relay.js';
import { startPlainServer, temporaryFolder } from './fixtures/pairs.js';
import { openPty } from './fixtures/pty.js';
import { Recorder } from './fixtures/recorder.js';

const linux = process.platform === 'linux' ? {} : { skip: 'the end in the VM is on Linux' };

t.test('two ends agree, which of them is the first too, and hear each other', async (t) => {
  const { host, guest } = await joined(t);
  t.not(host.first, guest.first);
  const [atHost, atGuest] = [attend(host), attend(guest)];
  const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, at) => (at * 7) % 256));
  host.send(bytes);
  guest.send(Buffer.from('\xc1 and \xc1\0', 'latin1'));
  await atGuest.until(() => atGuest.bytes.length === bytes.length);
  await atHost.until(() => atHost.text.length === 8);
  t.ok(atGuest.bytes.equals(bytes));
  t.equal(atHost.text, '\xc1 and \xc1\0');
});

t.test('the end that stays sees the other leave', async (t) => {
  for (const leave of [
    (socket: RawSocket) => socket.closeWhenSent(),
    (socket: RawSocket) => socket.end(),
    (socket: RawSocket) => socket.reset(),
  ]) {
    const { host, guest } = await joined(t);
    const [atHost, atGuest] = [attend(host), attend(guest)];
    host.send(Buffer.from('go'));
    await atGuest.until(() => atGuest.text === 'go');
    guest.send(Buffer.from('last words'));
    leave(guest);
    await atHost.until(() => atHost.closed);
    t.equal(atHost.text, 'last words');
    t.equal(atHost.ended, true);
    t.same(atHost.closes, [undefined]);
  }
});

t.test('the end that stays sees the other begin anew, where nothing else tells', async (t) => {
  const { relay, host, guest } = await joined(t);
  const [atHost, atGuest] = [attend(host), attend(guest)];
  relay.drop('guest');
  await atGuest.until(() => atGuest.closed);
  host.send(Buffer.from('to nobody, and in the way of the next one'));
  t.equal(host.destroyed, false);
  const next = connect(relay.guestPath);
  await atHost.until(() => atHost.closed);
  t.match(atHost.closes, [{ message: /the other end of the line has begun anew/ }]);
  const [again, newGuest] = await Promise.all([connect(relay.hostPath), next]);
  const later = [attend(again), attend(newGuest)] as const;
  again.send(Buffer.from('new'));
  newGuest.send(Buffer.from('NEW'));
  await later[0].until(() => later[0].text === 'NEW');
  await later[1].until(() => later[1].text === 'new');
  for (const socket of [again, newGuest]) socket.destroy();
});

t.test('what is left on the line is skipped', async (t) => {
  const relay = await LineRelay.open(t, temporaryFolder(t));
  const old = { kind: 'hello', own: '1'.repeat(16), heard: '2'.repeat(16) } as const;
  for (const end of ['host', 'guest'] as const)
    relay.keep(
      end,
      Buffer.concat([encodeLineMessage(old).subarray(20), Buffer.alloc(9, 0xc1), Buffer.from('x')]),
    );
  const [host, guest] = await Promise.all([connect(relay.hostPath), connect(relay.guestPath)]);
  const atHost = attend(host);
  guest.send(Buffer.from('fresh'));
  await atHost.until(() => atHost.text.length >= 5);
  t.equal(atHost.text, 'fresh');
  for (const socket of [host, guest]) socket.destroy();
});

t.test('says when nobody is there, when nobody answers, and when it is an echo', async (t) => {
  const folder = temporaryFolder(t);
  const away = await startPlainServer(join(folder, 'away'));
  away.server.on('connection', (socket) => socket.destroy());
  // Has read everything, so that its end is no error.
  const left = await startPlainServer(join(folder, 'left'));
  left.server.on('connection', (socket) => socket.once('data', () => socket.end()));
  const silent = await startPlainServer(join(folder, 'silent'));
  const echo = await startPlainServer(join(folder, 'echo'));
  echo.server.on('connection', (socket) => socket.pipe(socket));
  t.teardown(() => {
    for (const { server } of [away, left, silent, echo]) server.close();
  });
  const what = (name: string): string => `cannot connect to virtserial:${folder}/${name}: `;
  await t.rejects(connect(join(folder, 'away')), {
    name: 'OperationError',
    message: /: (EPIPE \(|ECONNRESET \()?nobody is at the other end; start portferry there, and QEMU/,
  });
  await t.rejects(connect(join(folder, 'left')), {
    name: 'OperationError',
    message: `${what('left')}nobody is at the other end; start portferry there, and QEMU where that is the host`,
  });
  await t.rejects(connect(join(folder, 'silent'), { timeoutMs: 20 }), {
    message: `${what('silent')}no portferry answers within 20 ms; does portferry-guest run in the VM? And has no`,
  });
  await t.rejects(connect(join(folder, 'echo')), {
    message: `${what('echo')}what is sent comes back`,
  });
  await t.rejects(connect(join(folder, 'none')), { message: `${what('none')}ENOENT (there is no such port` });
  const controller = new AbortController();
  const attempt = connect(join(folder, 'silent'), { signal: controller.signal });
  controller.abort();
  await t.rejects(attempt, { message: `${what('silent')}it was cancelled` });
  await t.rejects(connectChannel({ kind: 'virtserial', path: join(folder, 'none') }), { message: /ENOENT/ });
});

t.test('a second one at an end hears nothing until the first has gone', async (t) => {
  const { relay, host, guest } = await joined(t);
  await t.rejects(connect(relay.hostPath, { timeoutMs: 20 }), {
    message: /QEMU serves one, and keeps others/,
  });
  const second = connect(relay.hostPath);
  const atGuest = attend(guest);
  host.destroy();
  await atGuest.until(() => atGuest.closed);
  const third = await connect(relay.guestPath);
  (await second).destroy();
  third.destroy();
});

t.test('in the VM, the path is a device', linux, async (t) => {
  const { path, master } = openPty(t);
  const host = connectOver(master);
  const guest = await connect(path);
  const atGuest = attend(guest);
  const atHost = attend(await host);
  guest.send(Buffer.from('from the device \xc1', 'latin1'));
  await atHost.until(() => atHost.text === 'from the device \xc1');
  (await host).send(Buffer.from('to it'));
  await atGuest.until(() => atGuest.text === 'to it');
  guest.closeWhenSent();
  await atGuest.until(() => atGuest.closed);
  await atHost.until(() => atHost.ended);
});

t.test('says when nobody answers a device', linux, async (t) => {
  const { path } = openPty(t);
  await t.rejects(connect(path, { timeoutMs: 20 }), {
    message: /does "portferry host" have the other end\?/,
  });
});

t.test('opens no other devices, and none without handles', linux, async (t) => {
  await t.rejects(connect('/dev/null'), {
    name: 'OperationError',
    message:
      'cannot connect to virtserial:/dev/null: it is a device of mem, and no virtio-serial port; look into',
  });
  const folder = temporaryFolder(t);
  const unknown = { message: /it is a device of unknown kind, and no virtio-serial port/ };
  await t.rejects(connect('/dev/null', { driversFile: join(folder, 'none') }), unknown);
  writeFileSync(join(folder, 'drivers'), 'Character devices:\n136 pts\n');
  await t.rejects(connect('/dev/null', { driversFile: join(folder, 'drivers') }), unknown);
  const { path } = openPty(t);
  const { internals } = settings;
  t.teardown(() => {
    settings.internals = internals;
  });
  settings.internals = null;
  await t.rejects(connect(path), {
    message: /this Node cannot read a device, for libuv's handles do not work/,
  });
  const refusing = { open: () => -constants.errno.EINVAL };
  settings.internals = { ...internals, makePipe: () => refusing } as never;
  await t.rejects(connect(path), { message: /this Node cannot read it \(-22\)/ });
});

t.test('a folder is neither', async (t) => {
  const folder = join(temporaryFolder(t), 'folder');
  mkdirSync(folder);
  await t.rejects(connect(folder), { name: 'OperationError' });
});

/** Two ends that have agreed. */
async function joined(t: Tap) {
  const relay = await LineRelay.open(t, temporaryFolder(t));
  const [host, guest] = await Promise.all([connect(relay.hostPath), connect(relay.guestPath)]);
  t.teardown(() => {
    for (const socket of [host, guest]) socket.destroy();
  });
  return { relay, host, guest };
}

function connect(path: string, options?: LineOptions): Promise<LineSocket> {
  return connectLine({ kind: 'virtserial', path }, options);
}

function connectOver(line: RawSocket): Promise<LineSocket> {
  return new Promise((resolve, reject) => {
    const socket = new LineSocket(line, {
      onAgreed: () => resolve(socket),
      onFailed: (error) => reject(error),
    });
    line.resume();
  });
}

function attend(socket: RawSocket): Recorder {
  const recorder = new Recorder();
  socket.setHandler(recorder);
  socket.resume();
  return recorder;
}

type Tap = Pick<typeof t, 'teardown'>;
