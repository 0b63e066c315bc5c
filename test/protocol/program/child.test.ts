import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Child, type ChildProgram } from '../../../protocol/program/child.js';

const GUEST = fileURLToPath(new URL('../../fixtures/fake-guest.mjs', import.meta.url));
const guest = (mode: string): ChildProgram => ({
  name: 'the guest',
  command: [process.execPath, GUEST, mode],
});

/** Starts a child and waits for its first line. */
async function start(mode: string): Promise<{ child: Child; line: string }> {
  return new Promise((resolve) => {
    const child: Child = new Child(guest(mode), (line) => resolve({ child, line }));
  });
}

t.test('stops when asked to, and was given no options by the environment', async (t) => {
  process.env['PORTFERRY_STATE'] = '/somewhere';
  const { child, line } = await start('run');
  delete process.env['PORTFERRY_STATE'];
  t.equal(line, 'variables: ');
  await child.stop(60_000);
  t.equal(await child.ended, 'the guest ended with exit code 0: variables: ');
});

t.test('is made to stop when it does not', async (t) => {
  const { child } = await start('stubborn');
  await child.stop(1);
  t.equal(await child.ended, 'the guest ended by SIGKILL: ready');
});

t.test('does not outlive this process', async (t) => {
  const before = process.listeners('exit');
  const { child } = await start('stubborn');
  const [atExit] = process.listeners('exit').filter((listener) => !before.includes(listener));
  atExit?.(0);
  t.match(await child.ended, /^the guest ended by SIGKILL/);
  t.same(process.listeners('exit'), before);
});

t.test('none of several outlives this process', async (t) => {
  const before = process.listeners('exit');
  const [first, second] = [await start('stubborn'), await start('stubborn')];
  const atExit = process.listeners('exit').filter((listener) => !before.includes(listener));
  t.equal(atExit.length, 1);
  atExit[0]?.(0);
  for (const { child } of [first, second]) t.match(await child.ended, /^the guest ended by SIGKILL/);
});

t.test('a leashed one hears that this process has ended, and is not killed', async (t) => {
  const before = process.listeners('exit');
  const [command, ...args] = guest('leashed').command;
  const program = { name: 'the guest', command: [command, ...args] as const, leashed: true };
  const line = await new Promise<string>((resolve) => {
    const child = new Child(program, resolve);
    t.teardown(() => child.stop(1));
  });
  t.equal(line, 'variables: PORTFERRY_LEASH, stdin is a pipe');
  t.same(process.listeners('exit'), before);
});

t.test('says why it ended by itself', async (t) => {
  const lines: string[] = [];
  const child = new Child(guest('die'), (line) => void lines.push(line));
  t.equal(await child.ended, 'the guest ended with exit code 1: portferry-guest: no luck');
  t.equal(lines.length, 2);
  await child.stop(60_000);
});

t.test('says when it cannot be started', async (t) => {
  const child = new Child({ name: 'the guest', command: ['/nowhere/at/all'] }, () => {});
  t.match(await child.ended, /^the guest cannot be started: .*ENOENT/);
  child.kill();
});
