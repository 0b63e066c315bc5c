import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { portferryGuest } from '../../guest/cli.js';
import { portferry } from '../../host/cli/program.js';
import { COMMON_OPTIONS } from '../../protocol/program/declared-options.js';
import { manPage } from '../../protocol/program/man-page.js';
import { requireProgram, run, temporaryFolder } from '../fixtures/programs.js';

/** A manual has no date, so that the same source gives the same page. */
const NO_DATE = /^mandoc: \S+ WARNING: missing date, using "": TH$/;

for (const program of [portferry, portferryGuest]) {
  const { name, commands } = program;
  t.test(`${name}(1): groff and mandoc find nothing wrong, and show every command and option`, async (t) => {
    const path = join(temporaryFolder(t), `${name}.1`);
    writeFileSync(path, manPage(program));
    const groff = requireProgram(t, 'groff');
    if (groff === undefined) return;
    t.same(await run(t, groff, '-man', '-ww', '-z', path), { outcome: 0, output: '' });
    const mandoc = requireProgram(t, 'mandoc');
    if (mandoc === undefined) return;
    const { output } = await run(t, mandoc, '-Tlint', path);
    t.same(
      output.split('\n').filter((line) => !NO_DATE.test(line)),
      [],
    );
    const shown = await run(t, mandoc, '-Tutf8', '-O', 'width=200', path);
    // What is bold is printed twice there.
    const text = shown.output.replace(/.[\b]/g, '');
    for (const command of commands) {
      if (command.name !== '$0') t.match(text, `${name} ${command.name}`);
      const title = command.name === '$0' ? 'DESCRIPTION' : `${name} ${command.name}`.toUpperCase();
      const section = sectionOf(text, title);
      for (const option of Object.keys({ ...command.options, ...COMMON_OPTIONS }))
        t.match(section, new RegExp(`^ +(-\\w, )?--${option}\\b`, 'm'), `${command.name} --${option}`);
      for (const [example] of command.examples) t.ok(section.includes(example.replace('$0', name)), example);
    }
  });
}

/** From its heading to the next. */
function sectionOf(text: string, title: string): string {
  const [, section = ''] = new RegExp(`^${title}\\n(.*?)^(?=\\S)`, 'ms').exec(text) ?? [];
  return section;
}
