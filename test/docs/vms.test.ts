import { readFileSync } from 'node:fs';
import t from 'tap';
import { parse } from 'yaml';
import { ALL_OPTIONS } from '../../protocol/program/environment.js';
import { parseAddress } from '../../protocol/transport/channel-address.js';

const PAGE = readFileSync(new URL('../../docs/vms.md', import.meta.url), 'utf8');
const COMMANDS = commandsOf(PAGE);

t.test('each channel address on the page is one', async (t) => {
  const given = COMMANDS.flatMap((command) => [
    ...command.matchAll(/--(?:connect|listen) ('[^']*'|"[^"]*"|\S+)/g),
  ]);
  t.ok(given.length > 15, 'the page has some');
  for (const [text, quoted = ''] of given)
    t.doesNotThrow(() => parseAddress(quoted.replace(/^(['"])(.*)\1$/, '$2')), text);
});

t.test('each option of portferry on the page is one', async (t) => {
  const named = COMMANDS.flatMap((command) => [
    ...command.replace(/'exec:[^']*'/g, '').matchAll(/ --([a-z-]+)/g),
  ]);
  for (const [text, name = ''] of named) t.ok(ALL_OPTIONS.includes(name), text);
});

t.test('what keeps Lima from forwarding itself is the same on the page and in the file', async (t) => {
  // Without guestIPMustBeZero it is for what listens on 0.0.0.0 alone, and without proto for TCP alone.
  const rule = { guestIP: '0.0.0.0', guestIPMustBeZero: false, proto: 'any', ignore: true };
  const [, example = ''] = /^```yaml\n(portForwards:\n.*?)^```$/ms.exec(PAGE) ?? [];
  const file = readFileSync(new URL('../../guest/packaging/lima.yaml', import.meta.url), 'utf8');
  for (const text of [example, file]) t.same(parse(text).portForwards, [rule]);
});

/** The lines of its examples that begin with one of the programs, with the lines that they are continued on. */
function commandsOf(page: string): string[] {
  const examples = [...page.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, example = '']) => example);
  const lines = examples.flatMap((example) => example.replace(/\\\n/g, '').split('\n'));
  return lines.filter((line) => /^portferry(-guest)? /.test(line)).map((line) => line.replace(/ +#.*/, ''));
}
