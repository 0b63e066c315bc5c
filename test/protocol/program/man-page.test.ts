import t from 'tap';
import { portferryGuest } from '../../../guest/cli.js';
import { portferry } from '../../../host/cli/program.js';
import { manPage } from '../../../protocol/program/man-page.js';

t.test("both programs' manuals name every command, option and example", async (t) => {
  for (const program of [portferry, portferryGuest]) {
    const page = manPage(program).replaceAll('\\-', '-').replaceAll('\\(aq', "'").replaceAll('\\(ti', '~');
    const words = page.replaceAll('\\:', '').replace(/\s+/g, ' ');
    for (const { name, options, examples } of program.commands) {
      if (name !== '$0') t.match(page, `.SH "${`${program.name} ${name}`.toUpperCase()}"`);
      for (const option of Object.keys(options)) t.match(page, `\\fB--${option}\\fR`);
      t.ok(examples.length > 0, `${name} has examples`);
      for (const [, what] of examples) t.match(words, what.replaceAll('…', '...'));
    }
    for (const option of ['help', 'version']) t.match(page, `\\fB--${option}\\fR`);
  }
});

t.test('what roff would take for something else', async (t) => {
  const page = manPage({
    ...{
      name: 'x',
      version: '1',
      describe: 'a-b',
      epilogue: ".first\n\n'second",
      examples: [['$0 ~', '\\']],
    },
    commands: [],
  });
  t.match(page, 'x \\- a\\-b\n');
  t.match(page, '.SH NOTES\n\\&.first\n.PP\n\\(aqsecond\n');
  t.match(page, '\\fBx \\(ti\\fR\n\\e\n');
});
