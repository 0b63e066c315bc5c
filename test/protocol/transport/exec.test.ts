import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type RawSocket, unattended } from '../../../protocol/socket/raw-socket.js';
import { settings } from '../../../protocol/socket/settings.js';
import { parseAddress } from '../../../protocol/transport/channel-address.js';
import { checkConnectable, connectChannel } from '../../../protocol/transport/connect-channel.js';
import { temporaryFolder } from './fixtures/pairs.js';
import { Recorder } from './fixtures/recorder.js';

interface Started {
  socket: RawSocket;
  recorder: Recorder;
  lines: string[];
}

/** Runs a script by a shell as the channel. */
async function start(t: Test, script: string): Promise<Started> {
  const lines: string[] = [];
  const address = parseAddress(`exec:sh -c '${script}'`);
  checkConnectable(address);
  const socket = await connectChannel(address, { onLine: (line) => void lines.push(line) });
  t.teardown(() => socket.reset());
  const recorder = new Recorder();
  socket.setHandler(recorder);
  socket.resume();
  return { socket, recorder, lines };
}

/** Whether a process is there, and no zombie. */
function runs(pid: number): boolean {
  const file = `/proc/${pid}/stat`;
  return existsSync(file) && !/\) Z /.test(readFileSync(file, 'latin1'));
}

for (const internals of [settings.internals, null])
  t.test(`a command is the channel, ${internals ? 'by handles' : 'by node:net'}`, async (t) => {
    const before = settings.internals;
    settings.internals = internals;
    const { socket, recorder, lines } = await start(t, 'echo to the log >&2; cat');
    settings.internals = before;
    t.equal(socket.remote, undefined);
    t.equal(socket.local, undefined);
    t.ok(socket.fd > 2);
    t.ok(socket.send(Buffer.from('there and back')));
    await recorder.until(() => recorder.text === 'there and back');
    socket.pause();
    socket.unread(Buffer.from(', again'));
    socket.resume();
    await recorder.until(() => recorder.text === 'there and back, again');
    socket.end();
    await recorder.until(() => recorder.closed);
    t.equal(recorder.closes[0]?.message, 'sh ended with exit code 0 ("to the log")');
    t.same(lines, ['to the log']);
    t.notOk(recorder.ended, 'an end has a reason');
    t.ok(socket.destroyed);
  });

t.test('what it does not take waits', async (t) => {
  // It reads nothing until something is written to its gate.
  const gate = `${temporaryFolder(t)}/gate`;
  execFileSync('mkfifo', [gate]);
  const { socket, recorder } = await start(t, `read line <${gate}; cat >/dev/null`);
  const bytes = Buffer.alloc(8 * 1024 * 1024);
  t.notOk(socket.send(bytes));
  t.ok(socket.unsent > 0);
  await writeFile(gate, 'open\n');
  socket.closeWhenSent();
  await recorder.until(() => recorder.closed);
  t.equal(socket.unsent, 0);
  t.ok(recorder.sent > 0);
  t.same(recorder.closes, [undefined]);
});

t.test('all that it prints comes before its end, with the reason', async (t) => {
  const { recorder, lines } = await start(
    t,
    'head -c 3000000 /dev/zero; echo first >&2; echo "{\\"level\\":30}" >&2; echo "no such VM" >&2; exit 7',
  );
  await recorder.until(() => recorder.closed);
  t.equal(recorder.bytes.length, 3_000_000);
  t.match(recorder.closes, [{ message: 'sh ended with exit code 7 ("no such VM")' }]);
  t.same(lines, ['first', '{"level":30}', 'no such VM']);
});

t.test('a handler that comes late is told', async (t) => {
  const { recorder: pid, socket } = await start(t, 'echo $$; cat');
  await pid.until(() => pid.text.endsWith('\n'));
  socket.setHandler(unattended);
  const error = new Error('unwanted');
  socket.destroy(error);
  while (runs(Number(pid.text))) await new Promise(setImmediate);
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
  const late = new Recorder();
  socket.setHandler(late);
  await late.until(() => late.closed);
  t.same(late.closes, [error]);
});

t.test('when the channel is reset, the command ends, and whatever it has started', async (t) => {
  const { socket, recorder } = await start(t, 'sleep 1000 & echo $!; wait');
  await recorder.until(() => recorder.text.endsWith('\n'));
  const pid = Number(recorder.text);
  t.ok(runs(pid));
  socket.reset();
  socket.reset();
  await recorder.until(() => recorder.closed);
  t.same(recorder.closes, [undefined]);
  t.notOk(runs(pid));
});

t.test('a command that takes no heed of SIGTERM is killed', async (t) => {
  const { socket, recorder } = await start(t, 'trap "" TERM; echo $$; while true; do sleep 1000; done');
  await recorder.until(() => recorder.text.endsWith('\n'));
  socket.reset();
  await recorder.until(() => recorder.closed);
  t.notOk(runs(Number(recorder.text)));
});

t.test('a suspended command is killed', async (t) => {
  const { socket, recorder } = await start(t, 'echo $$; kill -STOP $$');
  await recorder.until(() => recorder.text.endsWith('\n'));
  socket.send(Buffer.from('into the void'));
  socket.closeWhenSent();
  socket.reset();
  await recorder.until(() => recorder.closed);
  t.notOk(runs(Number(recorder.text)));
});

t.test('a channel that is closed in order gives the command time to end', async (t) => {
  const folder = temporaryFolder(t);
  const { socket, recorder } = await start(t, `cat >${folder}/got; sleep 0.2; echo done >${folder}/end`);
  socket.send(Buffer.from('last words'));
  socket.closeWhenSent();
  await recorder.until(() => recorder.closed);
  t.equal(readFileSync(join(folder, 'got'), 'utf8'), 'last words');
  t.equal(readFileSync(join(folder, 'end'), 'utf8'), 'done\n');
  t.same(recorder.closes, [undefined]);
});

t.test('a command that closes its output and goes on is terminated, and that is the reason', async (t) => {
  const { recorder } = await start(t, 'echo $$; exec >&-; sleep 1000');
  await recorder.until(() => recorder.closed);
  t.match(recorder.closes, [{ message: /closed its standard input or output and went on/ }]);
  t.notOk(runs(Number(recorder.text)));
});

t.test('a command that closes its input and goes on is terminated, too', async (t) => {
  const { socket, recorder } = await start(t, 'exec <&-; echo $$; sleep 1000');
  await recorder.until(() => recorder.text.endsWith('\n'));
  socket.send(Buffer.from('x'));
  await recorder.until(() => recorder.closed);
  t.match(recorder.closes, [{ message: /closed its standard input or output and went on/ }]);
});

t.test('a process outside its group that holds its outputs does not hold the channel', async (t) => {
  const sign = join(temporaryFolder(t), 'sign');
  const { recorder } = await start(
    t,
    `setsid sh -c "touch ${sign}; exec sleep 1000" & echo $!; until test -e ${sign}; do :; done; exit 3`,
  );
  await recorder.until(() => recorder.closed);
  t.match(recorder.closes, [{ message: 'sh ended with exit code 3' }]);
  process.kill(Number(recorder.text), 'SIGKILL');
});

t.test('ends by a signal are told', async (t) => {
  const { recorder } = await start(t, 'kill -KILL $$');
  await recorder.until(() => recorder.closed);
  t.match(recorder.closes, [{ message: 'sh ended by SIGKILL' }]);
});

t.test('it has no terminal, and no option of ours', async (t) => {
  process.env['PORTFERRY_CONNECT'] = 'unix:/elsewhere';
  const { recorder } = await start(t, '(: </dev/tty) 2>&1; echo "connect: $PORTFERRY_CONNECT"');
  delete process.env['PORTFERRY_CONNECT'];
  await recorder.until(() => recorder.closed);
  t.match(recorder.text, /\/dev\/tty/);
  t.match(recorder.text, /connect: \n$/);
});

t.test('it says when there is no such program, or none that may be run', async (t) => {
  await t.rejects(connectChannel(parseAddress('exec:no-such-program-here --at all')), {
    name: 'OperationError',
    message:
      'cannot run exec:no-such-program-here …: ENOENT (there is no such program on the PATH of this process; give its whole path)',
  });
  await t.rejects(connectChannel(parseAddress('exec:/')), {
    message: /^cannot run exec:\/: EACCES \(it is no program, or none that this user may run/,
  });
  await t.rejects(connectChannel(parseAddress(`exec:true ${'x'.repeat(3_000_000)}`)), {
    message: /: E2BIG$/,
  });
});

t.test('a command that is not wanted any more is not started', async (t) => {
  const address = parseAddress('exec:cat');
  await t.rejects(connectChannel(address, { signal: AbortSignal.abort() }), {
    message: 'cannot connect to exec:cat: it was cancelled',
  });
});

t.test('what it says need not interest anybody', async (t) => {
  const socket = await connectChannel(parseAddress('exec:sh -c "echo nobody listens >&2"'));
  const recorder = new Recorder();
  socket.setHandler(recorder);
  socket.resume();
  await recorder.until(() => recorder.closed);
  t.match(recorder.closes, [{ message: 'sh ended with exit code 0 ("nobody listens")' }]);
});
