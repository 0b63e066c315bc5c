import { fileURLToPath } from 'node:url';
import t from 'tap';
import { portferry } from '../../../host/cli/program.js';
import { makeUpCommand } from '../../../host/cli/up.js';
import { runProgram } from '../../../protocol/program/run-program.js';
import { callProgram, TextSink } from '../../fixtures/call-program.js';

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

t.test('writes the children’s lines where its own log goes', async (t) => {
  const args = ['up', '--demo', '--log-level', 'silent'];
  const { stderr } = process;
  t.equal(await runProgram(program, { args, environment: {}, stdout: new TextSink(), stderr }), 1);
});
