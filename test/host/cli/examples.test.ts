import { split } from 'shlex';
import t, { type Test } from 'tap';
import { portferryGuest } from '../../../guest/cli.js';
import { portferry } from '../../../host/cli/program.js';
import { parseAllowExpose } from '../../../host/forwards/expose-policy.js';
import { parseSpecMatcher } from '../../../host/rule/forward-matcher.js';
import { type ForwardRule, parseSpec } from '../../../host/rule/forward-spec.js';
import { SPEC_EXAMPLES } from '../../../host/rule/spec-examples.js';
import { parseEndpointRule } from '../../../protocol/endpoint-rule.js';
import { readArguments } from '../../../protocol/program/arguments.js';
import type { Example, ProgramDeclaration } from '../../../protocol/program/program-declaration.js';
import { parseAddress } from '../../../protocol/transport/channel-address.js';
import { callProgram } from '../../fixtures/call-program.js';

/** What each option or argument of an example is read by when it is run. */
const READERS: Readonly<Record<string, (text: string) => unknown>> = {
  spec: parseSpec,
  forward: parseSpec,
  connect: parseAddress,
  'allow-expose': (rule) => parseAllowExpose([rule]),
  'allow-dial': (rule) => parseEndpointRule(rule, '--allow-dial'),
};

/** The words of an example behind the program's name; `undefined` for a line that another program begins. */
function wordsOf({ name }: ProgramDeclaration, [command]: Example): string[] {
  // What is between $( and ) is what portferry is asked for there.
  const own = /\$\((\$0 .*)\)/.exec(command)?.[1] ?? command.replace(/ [>|].*/, '');
  const [first, ...words] = split(own.replace('$0', name));
  if (first !== name) throw new Error(`no example of ${name}: ${command}`);
  return words;
}

/** Reads an example with the real readers, as far as an example can be read without being run. */
function check(t: Test, program: ProgramDeclaration, example: Example): void {
  const words = wordsOf(program, example);
  const read = readArguments(program, words);
  if (!('command' in read)) throw new Error(`it only shows something: ${example[0]}`);
  const { command, flags } = read;
  for (const [name, value] of Object.entries(flags)) {
    const reader = name === 'spec' && command.name === 'unexpose' ? parseSpecMatcher : READERS[name];
    const texts = [value ?? []].flat() as string[];
    if (reader && !(name === 'connect' && command.name === 'bench'))
      for (const text of texts) t.doesNotThrow(() => reader(text), `${example[0]}: ${text}`);
  }
}

for (const program of [portferry, portferryGuest]) {
  t.test(`${program.name}: each command has examples, in its help, which its own readers take`, async (t) => {
    for (const command of program.commands) {
      const { name, examples } = command;
      t.ok(examples.length > 0, name);
      const { stdout } = await callProgram(program, name === '$0' ? ['--help'] : [name, '--help']);
      for (const example of examples) {
        check(t, program, example);
        if (name !== '$0') t.equal(example[0].includes(`$0 ${name}`), true, `${example[0]} is about ${name}`);
      }
      t.match(stdout, /^Examples:$/m);
    }
    for (const example of program.examples) check(t, program, example);
  });
}

t.test('every part of a SPEC has an example', async (t) => {
  const rules = SPEC_EXAMPLES.map(([spec]) => ({ spec, rules: parseSpec(spec) }));
  const some = (what: string, is: (rule: ForwardRule, spec: string) => boolean): boolean =>
    t.ok(
      rules.some(({ spec, rules: [rule] }) => rule !== undefined && is(rule, spec)),
      what,
    );
  const ports =
    (is: (rule: Exclude<ForwardRule, { proto: 'unix' }>, spec: string) => boolean) =>
    (rule: ForwardRule, spec: string): boolean =>
      rule.proto !== 'unix' && is(rule, spec);
  some('a port alone', (_, spec) => /^\d+$/.test(spec));
  some('a port on each side', (_, spec) => /^\d+:\d+$/.test(spec));
  some(
    'a host address',
    ports(({ hostIps }) => hostIps.join() === '127.0.0.1'),
  );
  some(
    'every IPv4 address',
    ports(({ hostIps }) => hostIps.join() === '0.0.0.0'),
  );
  some(
    'an IPv6 address',
    ports(({ hostIps }) => hostIps.join() === '::1'),
  );
  some(
    'every IPv6 address',
    ports(({ hostIps }) => hostIps.join() === '::'),
  );
  some('every address', (_, spec) => spec.startsWith('*:'));
  some(
    'an address in the guest',
    ports(({ destination }) => 'ip' in destination && !/^127|:/.test(destination.ip)),
  );
  some(
    'an IPv6 address in the guest',
    ports(({ destination }) => 'ip' in destination && destination.ip.includes(':')),
  );
  t.ok(
    rules.some(({ rules }) => rules.length > 1),
    'a range',
  );
  some(
    'any port',
    ports(({ hostPort }) => hostPort === 0),
  );
  some('TCP by name', (_, spec) => spec.endsWith('/tcp'));
  some('UDP', ({ proto }) => proto === 'udp');
  some('a unix socket', ({ proto }) => proto === 'unix');
  some(
    '/proxy=v1',
    ports(({ proxyProtocol }) => proxyProtocol === 1),
  );
  some(
    '/proxy=v2',
    ports(({ proxyProtocol }) => proxyProtocol === 2),
  );
  some(
    '/idle',
    ports(({ idleSeconds }) => idleSeconds === 30),
  );
  const { stdout } = await callProgram(portferry, ['expose', '--help']);
  for (const [spec] of SPEC_EXAMPLES) t.ok(stdout.includes(spec), spec);
});
