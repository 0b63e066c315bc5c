import { fstatSync, type Stats } from 'node:fs';
import tty from 'node:tty';
import { UsageError } from '../errors.js';
import { openDescriptor } from '../socket/adopt-socket.js';
import { enlargeChannelBuffers } from '../socket/buffers.js';
import { PairSocket } from '../socket/pair-socket.js';
import type { RawSocket } from '../socket/raw-socket.js';

/** Where a process reads, writes, and logs. */
export interface StandardDescriptors {
  input: number;
  output: number;
  log: number;
}

const STANDARD: StandardDescriptors = { input: 0, output: 1, log: 2 };

/**
 * Makes a channel's socket of the standard input and output of this process, which belong to it from then on: they
 * stay open until the process has ended, as Node.js leaves them. It is paused and without a handler.
 * @throws UsageError when they are no pipes or sockets, or the log goes where the channel goes
 */
export function openStdio(standard: StandardDescriptors = STANDARD): RawSocket {
  checkStdio(standard);
  const [from, to] = [openDescriptor(standard.input, 'read'), openDescriptor(standard.output, 'write')];
  enlargeChannelBuffers(to.fd);
  return new PairSocket(from, to);
}

/** @throws UsageError when openStdio would */
export function checkStdio({ input, output, log }: StandardDescriptors = STANDARD): void {
  refuseUnlessChannel('input', input);
  const written = refuseUnlessChannel('output', output);
  const logged = fstatSync(log);
  if (logged.dev === written.dev && logged.ino === written.ino)
    throw new UsageError(
      'stdio: standard error goes where standard output goes, and the log would break the channel; send it elsewhere, such as by 2>/dev/null',
    );
}

function refuseUnlessChannel(name: 'input' | 'output', fd: number): Stats {
  const stats = fstatSync(fd);
  if (stats.isFIFO() || stats.isSocket()) return stats;
  const kind = tty.isatty(fd) ? 'a terminal' : stats.isFile() ? 'a file' : 'a device';
  throw new UsageError(
    `stdio: standard ${name} is ${kind}, which is no channel; stdio: is for what starts this program with pipes, such as 'portferry host --connect "exec:ssh VM portferry-guest --connect stdio:"' (without -t)`,
  );
}
