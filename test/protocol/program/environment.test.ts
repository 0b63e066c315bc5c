import t from 'tap';
import { portferryGuest } from '../../../guest/cli.js';
import { portferry } from '../../../host/cli/program.js';
import { COMMON_OPTIONS } from '../../../protocol/program/declared-options.js';
import { ALL_OPTIONS, refuseUnknownVariables } from '../../../protocol/program/environment.js';

const commands = [...portferry.commands, ...portferryGuest.commands];
const declared = [COMMON_OPTIONS, ...commands.map(({ options }) => options)].flatMap(Object.entries);

t.test('knows every option of both programs, and no other', async (t) => {
  t.same([...ALL_OPTIONS].sort(), [...new Set(declared.map(([name]) => name))].sort());
});

/** These count things, not seconds. */
const COUNTS = ['max-bytes', 'count'];

t.test('every number has bounds, which a timer of Node.js holds', async (t) => {
  const numbers = declared.filter(([, { type }]) => type === 'number');
  t.ok(numbers.length > 0);
  for (const [name, { max }] of numbers) {
    if (COUNTS.includes(name)) t.ok(Number.isSafeInteger(max), name);
    else t.ok(max * 1000 < 2 ** 31, name);
  }
});

t.test('takes the options of both programs, and what is for another purpose', async () => {
  const environment = {
    PORTFERRY_HOLD: '1',
    PORTFERRY_ALLOW_DIAL: ':80',
    PORTFERRY_CONFIG: '/c',
    PORTFERRY_RUNTIME_DIR: '/run',
    PORTFERRY_REQUIRE: 'all',
    PORTFERRY_IGNORED_SIGNALS: 'HUP',
    PORTFERRY_LEASH: 'stdin',
    PORTFERRY_NEWEST: '1',
    PORTFERRY_UNSET: '',
    HOME: '/root',
  };
  refuseUnknownVariables(environment, ['newest']);
  refuseUnknownVariables({}, []);
});

t.test('refuses what is no option, and names the nearest one', async (t) => {
  const cases: [name: string, advice: RegExp][] = [
    ['PORTFERRY_HLOD', /did you mean PORTFERRY_HOLD\?$/],
    ['PORTFERRY_LOGLEVEL', /did you mean PORTFERRY_LOG_LEVEL\?$/],
    ['PORTFERRY_ALLOW_DAIL', /did you mean PORTFERRY_ALLOW_DIAL\?$/],
    ['PORTFERRY_FORWARDS', /did you mean PORTFERRY_FORWARD\?$/],
    ['PORTFERRY_RUNTIME_FOLDER', /did you mean PORTFERRY_RUNTIME_DIR\?$/],
    ['PORTFERRY_NONSENSE', /--help lists the options$/],
    ['PORTFERRY_', /--help lists the options$/],
  ];
  for (const [name, advice] of cases) {
    const message = new RegExp(`^there is no option for the environment variable ${name}: ${advice.source}`);
    t.throws(() => refuseUnknownVariables({ [name]: '1' }, []), { name: 'UsageError', message });
  }
});
