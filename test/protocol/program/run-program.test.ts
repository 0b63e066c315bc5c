import t from 'tap';
import { OperationError, UsageError } from '../../../protocol/errors.js';
import { defineCommand, type ProgramDeclaration } from '../../../protocol/program/run-program.js';
import { callProgram } from '../../fixtures/call-program.js';

const showCommand = defineCommand({
  name: 'show',
  describe: 'Shows what it was given',
  operands: { name: 'thing', describe: 'What to show', required: true },
  options: {
    hold: { type: 'number', describe: 'Seconds', defaultDescription: '5' },
    json: { type: 'boolean', describe: 'As JSON' },
    item: { type: 'list', describe: 'Items' },
    level: { type: 'string', describe: 'Level', choices: ['a', 'b'] },
    socket: { type: 'string', describe: 'Socket', bare: '/usual' },
  },
  examples: [['$0 show x', 'shows x']],
  epilogue: 'That is all.',
  async run(values, operands, { stdout }) {
    stdout.write(JSON.stringify({ ...values, operands }));
  },
});

const failCommand = (thrown: unknown) =>
  defineCommand({
    name: 'fail',
    describe: 'Fails',
    options: {},
    examples: [],
    run: () => Promise.reject(thrown),
  });

const base = { name: 'ferry', version: '1.2.3', describe: 'A program.', examples: [], epilogue: 'The end.' };
const program = (thrown?: unknown): ProgramDeclaration => ({
  ...base,
  examples: [['$0 show x', 'an example']],
  commands: [showCommand, failCommand(thrown)],
});

t.test('an option whose value may be left out', async (t) => {
  const given: [args: string[], socket: string][] = [
    [['--socket'], '/usual'],
    [['--socket', '--json'], '/usual'],
    [['--socket=/other'], '/other'],
  ];
  for (const [args, socket] of given) {
    const { stdout } = await callProgram(program(), ['show', 'x', ...args]);
    t.match(JSON.parse(stdout), { socket }, args.join(' '));
  }
});

t.test('runs a command with its options and operands', async (t) => {
  const args = [
    'show',
    '8080',
    '0x10',
    '--hold=2.5',
    '--json',
    '--item',
    '1',
    '--item',
    '2:3',
    '-level',
    'b',
  ];
  const { code, stdout, stderr } = await callProgram(program(), args);
  t.equal(code, 0);
  t.equal(stderr, '');
  t.same(JSON.parse(stdout), {
    hold: 2.5,
    json: true,
    item: ['1', '2:3'],
    level: 'b',
    operands: ['8080', '0x10'],
  });
});

t.test('takes options from the environment too', async (t) => {
  const { stdout } = await callProgram(program(), ['show', 'x'], {
    PORTFERRY_HOLD: '7',
    PORTFERRY_REQUIRE: 'all',
  });
  t.match(JSON.parse(stdout), { hold: 7 });
});

t.test('a variable that is no option is wrong usage, but for help', async (t) => {
  const environment = { PORTFERRY_HLOD: '1' };
  t.match(await callProgram(program(), ['show', 'x'], environment), {
    code: 2,
    stdout: '',
    stderr:
      /^ferry: there is no option for the environment variable PORTFERRY_HLOD: did you mean PORTFERRY_HOLD\?\n$/,
  });
  t.equal((await callProgram(program(), ['--help'], environment)).code, 0);
});

t.test('wrong usage is one line, and exit code 2', async (t) => {
  const cases: [string[], RegExp][] = [
    [[], /^ferry: no command given: one of show, fail \(see ferry --help\)\n$/],
    [['frob'], /^ferry: unknown command 'frob': one of show, fail\n$/],
    [['show'], /^ferry: show needs at least one THING \(see ferry show --help\)\n$/],
    [['show', 'x', '--hodl', '1'], /^ferry: unknown argument: hodl \(see ferry show --help\)\n$/],
    [['show', 'x', '--hold'], /^ferry: not enough arguments following: hold \(see ferry show --help\)\n$/],
    [['show', 'x', '--item'], /^ferry: not enough arguments following: item/],
    [['show', 'x', '--no-json'], /^ferry: unknown argument: no-json/],
    [['fail', 'x'], /^ferry: unknown argument: x/],
    [['--json'], /^ferry: /],
  ];
  for (const [args, message] of cases) {
    const { code, stdout, stderr } = await callProgram(program(), args);
    t.equal(code, 2, args.join(' '));
    t.equal(stdout, '');
    t.match(stderr, message);
    t.equal(stderr.split('\n').length, 2);
  }
});

t.test('tells failures apart by exit code, each as one line', async (t) => {
  const cases: [unknown, number, RegExp][] = [
    [new UsageError('wrong'), 2, /^ferry: wrong\n$/],
    [new OperationError('first\nsecond'), 1, /^ferry: first; second\n$/],
    [Object.assign(new Error('gone'), { code: 'ENOENT' }), 1, /^ferry: gone\n$/],
    [new TypeError('a fault'), 1, /^ferry: TypeError: a fault \(at .+\)\n$/],
    [Object.assign(new Error('bare'), { stack: undefined }), 1, /^ferry: Error: bare\n$/],
    ['text', 1, /^ferry: text\n$/],
  ];
  for (const [thrown, expected, message] of cases) {
    const { code, stderr } = await callProgram(program(thrown), ['fail']);
    t.equal(code, expected);
    t.match(stderr, message);
  }
});

t.test('has help for the program and each command, with examples, and a version', async (t) => {
  const whole = await callProgram(program(), ['--help']);
  t.equal(whole.code, 0);
  t.match(
    whole.stdout,
    /ferry <command>[\s\S]*A program\.[\s\S]*ferry show[\s\S]*an example[\s\S]*The end\./,
  );
  const one = await callProgram(program(), ['show', '--help']);
  t.match(one.stdout, /--hold +Seconds[\s\S]*default: 5[\s\S]*a, b[\s\S]*ferry show x[\s\S]*That is all\./);
  t.equal((await callProgram(program(), ['--version'])).stdout, '1.2.3\n');
});

t.test('a program can have a single command without a name', async (t) => {
  const single: ProgramDeclaration = {
    ...base,
    commands: [{ ...showCommand, name: '$0', operands: { name: 'thing', describe: '', required: false } }],
  };
  t.match(JSON.parse((await callProgram(single, ['-hold', '1'])).stdout), { hold: 1, operands: [] });
  t.match((await callProgram(single, ['--help'])).stdout, /A program\./);
  t.equal((await callProgram(single, ['--hodl'])).code, 2);
});
