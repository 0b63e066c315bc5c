import { hostname } from 'node:os';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { portferry } from '../../../host/cli/program.js';
import { makeUpCommand } from '../../../host/cli/up.js';
import { runProgram } from '../../../protocol/program/run-program.js';
import { callProgram, TextSink } from '../../fixtures/call-program.js';
import { FakeDocker } from '../../fixtures/fake-docker.js';

const fixture = (name: string): string => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));

const program = {
  ...portferry,
  commands: [
    makeUpCommand({
      host: [process.execPath, fixture('fake-host.mjs'), 'waiting'],
      guest: [process.execPath, fixture('fake-guest.mjs'), 'die'],
      docker: ['no-such-docker'],
      enter: ['false'],
      bundle: 'guest.mjs',
    }),
  ],
};

t.test('a forward that leads back to itself, or nothing to do, is wrong usage', async (t) => {
  const cases: [string[], RegExp][] = [
    [[], /up needs a SPEC such as 9080:80, --demo or --engine/],
    [['8080'], /"localhost:8080:127\.0\.0\.1:8080\/tcp" leads back to itself/],
    [['9080:80', '0.0.0.0:80:127.0.0.1:80'], /leads back to itself/],
    [['8080:[::1]:8080'], /leads back to itself/],
    [['unix:/a:/a'], /leads back to itself/],
    [['x'], /cannot forward "x"/],
    [['--publish', '9080:80'], /--publish goes with --engine/],
    [['--image', 'node', '9080:80'], /--image goes with --engine/],
    [['--engine-socket=/run/docker.sock', '9080:80'], /--engine-socket goes with --engine/],
    [['--', '--engine'], /cannot forward "--engine"/],
    [['--dashboard=0.0.0.0:1', '9080:80'], /the dashboard cannot listen on 0\.0\.0\.0/],
    [['--engine', '--demo'], /--demo and --engine exclude each other/],
  ];
  for (const [args, message] of cases)
    t.match(await callProgram(program, ['up', ...args]), { code: 2, stdout: '', stderr: message });
});

t.test('a child that ends by itself ends the whole, with its reason', async (t) => {
  for (const spec of ['127.0.0.2:8080:127.0.0.1:8080', 'unix:/a:/b', '9080:80']) {
    const { code, stderr } = await callProgram(program, ['up', spec]);
    t.equal(code, 1);
    t.match(
      stderr,
      /"about to end"[\s\S]*portferry: the guest ended with exit code 1: portferry-guest: no luck\n$/,
    );
  }
});

t.test('the dashboard is the host’s', async (t) => {
  const host = [
    process.execPath,
    '-e',
    'console.error(process.argv.slice(1).join(" ")); process.exit(1)',
  ] as const;
  const command = makeUpCommand({ host, guest: ['false'], docker: ['docker'], enter: ['false'], bundle: '' });
  const told = (...args: string[]) =>
    callProgram({ ...program, commands: [command] }, ['up', '9080:80', ...args]);
  t.match(await told('--dashboard=localhost:0'), { stderr: / --dashboard=localhost:0$/m });
  t.match(await told('--dashboard'), { stderr: / --dashboard$/m });
  t.notMatch((await told()).stderr, /--dashboard/);
});

t.test('writes the children’s lines where its own log goes', async (t) => {
  const args = ['up', '--demo', '--log-level', 'silent'];
  const { stderr } = process;
  t.equal(await runProgram(program, { args, environment: {}, stdout: new TextSink(), stderr }), 1);
});

/** `up` with a docker of the test's own, and a host that ends at once. */
function withDocker(t: Test): { fake: FakeDocker; program: typeof portferry } {
  const fake = new FakeDocker(t);
  const command = makeUpCommand({
    host: [process.execPath, fixture('fake-guest.mjs'), 'die'],
    guest: ['false'],
    docker: fake.call,
    enter: ['enter'],
    bundle: fixture('fake-guest.mjs'),
  });
  return { fake, program: { ...portferry, commands: [command] } };
}

t.test('with --engine the guest gets a container, which goes at the end', async (t) => {
  const { fake, program } = withDocker(t);
  const { code, stderr } = await callProgram(program, ['up', '--engine', '8080']);
  t.equal(code, 1);
  t.match(stderr, /portferry: the host ended with exit code 1/);
  t.same(fake.containers, []);
  const created = (): string => fake.calls.findLast((call) => call.includes('create ')) ?? '';
  t.match(created(), / node:24-slim \/portferry-guest\.mjs --connect stdio: --docker=off --log-level warn$/);

  const args = [
    'up',
    '--engine=far',
    '--publish',
    '--image',
    'mine',
    '--engine-socket',
    '/e',
    '--log-level',
    'info',
  ];
  fake.answer({ 'image inspect': { code: 1 } });
  t.match((await callProgram(program, args)).stderr, /^pulling the image mine, /);
  t.match(
    created(),
    /^--context far create .*source=\/e,.* mine \/\S+ --connect stdio: --docker=\/var\/run\/docker\.sock --log-level info$/,
  );
});

t.test('an engine on this machine gets no forward that leads back to itself', async (t) => {
  const { fake, program } = withDocker(t);
  fake.answer({ info: { stdout: JSON.stringify({ Name: hostname(), OSType: 'linux' }) } });
  t.match(await callProgram(program, ['up', '--engine', '8080']), {
    code: 2,
    stderr: /leads back to itself/,
  });
});
