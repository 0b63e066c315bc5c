import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type NamedTest, ROOT, read, readPage, TEST_CELL, testsAreThere } from './fixtures/page.js';

const PAGE = readPage('docs/reliability.md');
const KINDS = 'scripts/faults/kinds';

interface Row extends NamedTest {
  fault: string;
  figures: string;
}

const ROWS = [
  ...PAGE.matchAll(
    new RegExp(`^\\| (?<fault>[^|]+) \\| [^|]+ \\| ${TEST_CELL} \\| (?<figures>.*) \\|$`, 'gm'),
  ),
].map(({ groups }) => groups as unknown as Row);

/** What the script calls a fault that can be made again: the first thing in its row. */
const MADE = ROWS.map(({ fault }) => /^`([a-z-]+)`/.exec(fault)?.[1]).filter((id) => id !== undefined);

t.test('each test on the page is there', async (t) => {
  t.equal(PAGE.match(/^\| (?!fault |---)/gm)?.length, ROWS.length, 'each row has the form of one');
  testsAreThere(t, ROWS);
});

t.test('each row has a figure, beside those of others or why they have none', async (t) => {
  for (const { fault, figures } of ROWS) {
    const [portferry = '', ...others] = figures.split(' | ');
    t.match(portferry, /\d/, fault);
    t.equal(others.length, 3, `${fault}: all forwarders`);
    for (const figure of others) t.match(figure, /\d|^(?:has|keeps) no /, fault);
  }
});

t.test('the page has each fault that the script makes', async (t) => {
  const sources = readdirSync(join(ROOT, KINDS)).map((file) => read(join(KINDS, file)));
  const ids = sources.flatMap((source) => [...source.matchAll(/\bid: '([a-z-]+)'/g)].map(([, id]) => id));
  t.ok(ids.length > 20);
  t.same([...MADE].sort(), ids.sort());
});
