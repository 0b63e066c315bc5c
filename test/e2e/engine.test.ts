import { delimiter } from 'node:path';
import t, { type Test } from 'tap';
import { FakeDocker } from '../fixtures/fake-docker.js';
import { builtCommand, Program, startServer } from '../fixtures/programs.js';
import { turnsUntil } from '../protocol/fixtures/signal.js';
import { connect } from './fixtures/pair.js';

/** `portferry up --engine` with a docker whose containers are programs on this machine; its server says hello. */
async function startUp(t: Test): Promise<{ fake: FakeDocker; up: Program; port: number }> {
  const fake = new FakeDocker(t);
  const guestPort = await startServer(t, (socket) => socket.write('hello'));
  const [command, ...rest] = builtCommand('host/main.js');
  const env = { PATH: `${fake.install()}${delimiter}${process.env['PATH']}` };
  const args = [...rest, 'up', '--engine', `127.0.0.1:0:${guestPort}`];
  const up = Program.start(t, command, args, { env, endSignal: 'SIGTERM' });
  const [, port] = await up.line(/^tcp 127\.0\.0\.1:(\d+) /);
  await up.line(/^Ctrl-C ends it/);
  return { fake, up, port: Number(port) };
}

async function greets(t: Test, port: number): Promise<void> {
  const client = connect(t, port);
  await client.until(() => client.bytes === 'hello'.length);
}

t.test('it forwards, and its container goes with it', async (t) => {
  const { fake, up, port } = await startUp(t);
  await greets(t, port);
  t.equal(fake.containers.length, 1);
  t.equal(await up.stop('SIGINT'), 0);
  t.same(fake.containers, []);
});

t.test('a container that ends is made anew', async (t) => {
  const { fake, up, port } = await startUp(t);
  const [first] = fake.containers;
  fake.kill();
  await turnsUntil(() => fake.containers.some((id) => id !== first));
  await greets(t, port);
  t.equal(fake.calls.filter((call) => call.startsWith('create ')).length, 2);
  t.equal(await up.stop('SIGINT'), 0);
  t.same(fake.containers, []);
});
