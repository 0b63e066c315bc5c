import { once } from 'node:events';
import { chmodSync, symlinkSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DIST, Program, requireProgram, temporaryFolder } from '../fixtures/programs.js';

/** The two programs by their names: what they are built as, and their options, by which both listen. */
const PROGRAMS = [
  { name: 'portferry', main: 'host/main.js', args: 'host --control "$FOLDER/k" --listen "unix:$FOLDER/c"' },
  { name: 'portferry-guest', main: 'guest/main.js', args: '--docker=off --listen "unix:$FOLDER/c"' },
] as const;

interface Run {
  program: Program;
  /** Where it listens for its channel. */
  channel: string;
}

/** Runs a shell's line, in which the programs are on PATH, as npm links them. */
function runLine(t: Test, shell: string, line: string): Run {
  const folder = temporaryFolder(t);
  for (const { name, main } of PROGRAMS) {
    chmodSync(join(DIST, main), 0o755);
    symlinkSync(join(DIST, main), join(folder, name));
  }
  const unset = ['NODE_OPTIONS', 'PORTFERRY_IGNORED_SIGNALS', '_'].flatMap((variable) => ['-u', variable]);
  const env = { FOLDER: folder, PATH: `${folder}:${process.env['PATH']}` };
  return {
    program: Program.start(t, 'env', [...unset, shell, '-c', line], { env }),
    channel: join(folder, 'c'),
  };
}

/** The program's process id, once it listens. */
async function pidOf({ program }: Run): Promise<number> {
  const [, pid] = await program.line(/^pid (\d+)$/);
  await program.line(/waiting for the channel/);
  return Number(pid);
}

/** Whoever connects is sent a handshake. The first may be sent in the turn in which a signal comes, not a second one. */
async function goesOn({ channel }: Run): Promise<void> {
  for (let round = 0; round < 2; round++) {
    const socket = net.connect(channel);
    await once(socket, 'data');
    socket.destroy();
  }
}

async function survives(t: Test, run: Run, signal: NodeJS.Signals): Promise<void> {
  const pid = await pidOf(run);
  process.kill(pid, signal);
  await goesOn(run);
  process.kill(pid, 'SIGTERM');
  t.equal(await run.program.exit(), 0);
}

for (const { name, main, args } of PROGRAMS) {
  t.test(`nohup ${name} goes on after SIGHUP`, async (t) => {
    if (requireProgram(t, 'nohup') === undefined) return;
    await survives(t, runLine(t, 'sh', `echo pid $$; exec nohup ${name} ${args}`), 'SIGHUP');
  });

  t.test(`${name} without nohup stops at SIGHUP, and so does it by name as by path`, async (t) => {
    for (const call of [name, `${process.execPath} ${join(DIST, main)}`]) {
      const run = runLine(t, 'sh', `echo pid $$; exec ${call} ${args}`);
      process.kill(await pidOf(run), 'SIGHUP');
      t.equal(await run.program.exit(), 0);
    }
  });

  t.test(`nohup node …/${main}, where the shell says that it has started nohup`, async (t) => {
    for (const needed of ['nohup', 'bash']) if (requireProgram(t, needed) === undefined) return;
    const call = `nohup ${process.execPath} ${join(DIST, main)} ${args}`;
    await survives(t, runLine(t, 'bash', `${call} & echo pid $!; wait $!`), 'SIGHUP');
  });

  t.test(`${name} in the background of a script goes on after SIGINT`, async (t) => {
    await survives(t, runLine(t, 'sh', `${name} ${args} & echo pid $!; wait $!`), 'SIGINT');
  });
}
