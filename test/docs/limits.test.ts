import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type NamedTest, ROOT, read, readPage, TEST_CELL, testsAreThere } from './fixtures/page.js';

const PAGE = readPage('docs/limits.md');
const FILES = ['host', 'guest', 'protocol'].flatMap((room) =>
  readdirSync(join(ROOT, room), { recursive: true, encoding: 'utf8' })
    .map((path) => `${room}/${path}`)
    .filter((path) => path.endsWith('.ts') && !/^host\/(bench|dashboard\/page)\//.test(path)),
);

/** Names of constants that bound something. */
const BOUND = /^(?:MAX|KEPT)_|TIMEOUT_MS$|BUDGET_BYTES$/;
const UNITS: Readonly<Record<string, number>> = { bytes: 1, KiB: 1024, MiB: 1024 ** 2, ms: 1 };

interface Row extends NamedTest {
  value: string;
  name: string;
  file: string;
}

const NUMBER_CELLS = /(?<value>[\d.,]+(?: \w+)?) \| `(?<name>\w+)` in \[(?<file>[^\]]+)\]\(\.\.\/\k<file>\)/
  .source;
const ROWS = [
  ...PAGE.matchAll(new RegExp(`^\\| .* \\| ${NUMBER_CELLS} \\|(?: .*)? \\| ${TEST_CELL} \\|$`, 'gm')),
].map(({ groups }) => groups as unknown as Row);

t.test('each number on the page is the one in the code', async (t) => {
  t.equal(PAGE.match(/^\| (?!limit |---)/gm)?.length, ROWS.length, 'each row has the form of one');
  for (const { value, name, file } of ROWS)
    t.equal(numberOf(value, name), constantOf(name, file), `${name} in ${file}`);
});

t.test('each test on the page is there', async (t) => testsAreThere(t, ROWS));

t.test('no constant that bounds something is left out', async (t) => {
  const others = [...PAGE.matchAll(/^- `(\w+)` in \[([^\]]+)\]/gm)].map(
    ([, name, file]) => `${name} in ${file}`,
  );
  const named = new Set([...ROWS.map(({ name, file }) => `${name} in ${file}`), ...others]);
  const constants = FILES.flatMap((file) =>
    [...read(file).matchAll(/^(?:export )?const ([A-Z][A-Z0-9_]*)(?:: [^=]+)? = /gm)]
      .filter(([, name = '']) => BOUND.test(name))
      .map(([, name]) => `${name} in ${file}`),
  );
  t.ok(constants.length > 100);
  t.same(
    constants.filter((constant) => !named.has(constant)),
    [],
    'say in docs/limits.md who can reach it, and what happens then',
  );
  for (const other of others) t.ok(constants.includes(other), other);
});

/** What a number of the page is in the unit of the constant, which its name ends in. */
function numberOf(text: string, name: string): number {
  const [digits = '', unit] = text.replaceAll(',', '').split(' ');
  if (unit === undefined) return Number(digits);
  const factor = unit === 's' ? (name.endsWith('_MS') ? 1000 : 1) : UNITS[unit];
  return Number(digits) * (factor ?? Number.NaN);
}

/** The value of a constant, which may be made of others. */
function constantOf(name: string, file: string): number {
  const [, terms] =
    new RegExp(`^(?:export )?const ${name}(?:: [^=]+)? = ([^;]+);`, 'm').exec(read(file)) ?? [];
  if (terms === undefined) {
    const home = FILES.find((path) => new RegExp(`^export const ${name}\\b`, 'm').test(read(path)));
    return home === undefined ? Number.NaN : constantOf(name, home);
  }
  const factor = (text: string): number =>
    /^[A-Z]/.test(text) ? constantOf(text, file) : Number(text.replaceAll('_', ''));
  return terms
    .split(' + ')
    .map((term) => term.split(' * ').reduce((product, text) => product * factor(text), 1))
    .reduce((sum, term) => sum + term);
}
