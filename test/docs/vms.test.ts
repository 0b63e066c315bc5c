import { readFileSync } from 'node:fs';
import t from 'tap';
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

/** The lines of its examples that begin with one of the programs, with the lines that they are continued on. */
function commandsOf(page: string): string[] {
  const examples = [...page.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, example = '']) => example);
  const lines = examples.flatMap((example) => example.replace(/\\\n/g, '').split('\n'));
  return lines.filter((line) => /^portferry(-guest)? /.test(line)).map((line) => line.replace(/ +#.*/, ''));
}
