import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { UsageError } from '../../../protocol/errors.js';
import { checkConnectable, connectChannel } from '../../../protocol/transport/connect-channel.js';
import { checkStdio, type StandardDescriptors } from '../../../protocol/transport/stdio.js';
import { makePipe, makeSocketPair } from '../../fixtures/descriptors.js';
import { temporaryFolder } from './fixtures/pairs.js';
import { Recorder } from './fixtures/recorder.js';

const address = { kind: 'stdio' } as const;

/** A descriptor that is open until the test ends. */
function opened(t: Test, fd: number): number {
  t.teardown(() => closeSync(fd));
  return fd;
}

function device(t: Test): number {
  return opened(t, openSync('/dev/null', 'r+'));
}

for (const [kind, make] of [
  ['pipes', makePipe],
  ['sockets', makeSocketPair],
] as const)
  t.test(`${kind} are a channel`, async (t) => {
    const [input, to] = make();
    const [from, output] = make();
    const standard: StandardDescriptors = { input, output, log: device(t) };
    checkConnectable(address, standard);
    const socket = await connectChannel(address, { standard });
    t.teardown(() => socket.reset());
    const recorder = new Recorder();
    socket.setHandler(recorder);
    socket.resume();
    writeSync(to, 'there');
    await recorder.until(() => recorder.text === 'there');
    socket.send(Buffer.from('back'));
    const memory = Buffer.alloc(16);
    t.equal(memory.toString('latin1', 0, readSync(from, memory)), 'back');
    closeSync(to);
    await recorder.until(() => recorder.ended);
    socket.closeWhenSent();
    await recorder.until(() => recorder.closed);
    closeSync(from);
  });

t.test('what is no pipe and no socket is refused', async (t) => {
  const [from, to] = makePipe().map((fd) => opened(t, fd)) as [number, number];
  const file = opened(t, openSync(join(temporaryFolder(t), 'file'), 'w+'));
  const null_ = device(t);
  const refuse = (standard: StandardDescriptors, message: RegExp): void => {
    t.throws(() => checkStdio(standard), { name: 'UsageError', message });
    t.throws(() => checkConnectable(address, standard), UsageError);
  };
  refuse({ input: null_, output: to, log: null_ }, /^stdio: standard input is a device, which is no channel/);
  refuse({ input: from, output: file, log: null_ }, /^stdio: standard output is a file/);
  refuse({ input: from, output: to, log: to }, /^stdio: standard error goes where standard output goes/);
  const terminal = opened(t, openSync('/dev/ptmx', 'r+'));
  refuse({ input: terminal, output: to, log: null_ }, /^stdio: standard input is a terminal.*\(without -t\)/);
  await t.rejects(connectChannel(address, { standard: { input: file, output: to, log: null_ } }), UsageError);
  t.doesNotThrow(() => checkStdio({ input: from, output: to, log: null_ }));
});
