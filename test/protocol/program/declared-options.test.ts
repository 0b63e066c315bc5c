import t, { type Test } from 'tap';
import { UsageError } from '../../../protocol/errors.js';
import { type OptionDeclarations, resolveOptions } from '../../../protocol/program/declared-options.js';
import { environmentName } from '../../../protocol/program/environment.js';

const OPTIONS = {
  listen: { type: 'string', describe: '', excludes: 'connect' },
  connect: { type: 'string', describe: '', excludes: 'listen' },
  forward: { type: 'list', describe: '' },
  hold: { type: 'number', describe: '', max: 60 },
  runs: { type: 'number', describe: '', min: 1, whole: true },
  json: { type: 'boolean', describe: '' },
  level: { type: 'string', describe: '', choices: ['info', 'debug'] },
  docker: { type: 'string', describe: '', bare: '/run/d.sock' },
} as const satisfies OptionDeclarations;

function resolve(
  flags: Record<string, unknown>,
  environment: NodeJS.ProcessEnv = {},
  fileKeys = Object.keys(OPTIONS),
): Record<string, unknown> {
  return resolveOptions(OPTIONS, flags, environment, new Set([...fileKeys, 'config']));
}

function file(t: Test, content: unknown): string {
  const text = typeof content === 'string' ? content : JSON.stringify(content);
  return `${t.testdir({ 'c.json': text })}/c.json`;
}

t.test('has empty values for what is not given', async (t) => {
  t.same(resolve({}), {
    listen: undefined,
    connect: undefined,
    forward: [],
    hold: undefined,
    runs: undefined,
    json: false,
    level: undefined,
    docker: undefined,
  });
});

t.test('an option that can be given without a value', async (t) => {
  t.match(resolve({ docker: '' }), { docker: '/run/d.sock' });
  t.match(resolve({ docker: '/x' }), { docker: '/x' });
  t.match(resolve({}, { PORTFERRY_DOCKER: '/y' }), { docker: '/y' });
  t.match(resolve({ config: file(t, { docker: true }) }), { docker: '/run/d.sock' });
  t.throws(() => resolve({ config: file(t, { docker: false }) }), /"docker" in .* must be a string/);
  t.throws(() => resolve({ docker: ['', '/x'] }), /--docker is given 2 times/);
});

t.test('a flag wins over the environment, which wins over the file', async (t) => {
  const config = file(t, { hold: 1, level: 'info', forward: ['1'], json: true });
  const environment = { PORTFERRY_HOLD: '2', PORTFERRY_FORWARD: '2', PORTFERRY_CONFIG: config };
  t.match(resolve({ hold: '3.5' }, environment), { hold: 3.5, forward: ['2'], level: 'info', json: true });
  t.match(resolve({ config }), { hold: 1, forward: ['1'] });
});

t.test('variables of another purpose, and empty ones, are no options', async (t) => {
  const environment = { PORTFERRY_REQUIRE: 'all', PORTFERRY_RUNTIME_DIR: '/x', PORTFERRY_HOLD: '' };
  t.same(resolve({}, environment), resolve({}));
  t.equal(environmentName('log-level'), 'PORTFERRY_LOG_LEVEL');
});

t.test('lists: repeated flags, commas or spaces in the environment, arrays in the file', async (t) => {
  t.match(resolve({ forward: ['1', '2:3'] }), { forward: ['1', '2:3'] });
  t.match(resolve({}, { PORTFERRY_FORWARD: '1, 2:3 4,' }), { forward: ['1', '2:3', '4'] });
  t.match(resolve({ config: file(t, { forward: '1 2' }) }), { forward: ['1', '2'] });
});

t.test('booleans as text', async (t) => {
  t.match(resolve({}, { PORTFERRY_JSON: '1' }), { json: true });
  t.match(resolve({}, { PORTFERRY_JSON: 'false' }), { json: false });
  t.match(resolve({ json: false }, { PORTFERRY_JSON: 'true' }), { json: false });
});

t.test('options that exclude each other: an error in one place, else the stronger place wins', async (t) => {
  t.throws(() => resolve({ listen: 'a', connect: 'b' }), {
    name: 'UsageError',
    message: '--listen and --connect exclude each other',
  });
  const config = file(t, { connect: 'f' });
  t.match(resolve({ listen: 'a', config }, { PORTFERRY_CONNECT: 'e' }), { listen: 'a', connect: undefined });
  t.match(resolve({ config }, { PORTFERRY_LISTEN: 'e' }), { listen: 'e', connect: undefined });
});

t.test('each wrong value is one line that names the place', async (t) => {
  const wrong: [Record<string, unknown>, NodeJS.ProcessEnv, RegExp][] = [
    [{ hold: 'soon' }, {}, /^--hold must be a number of at least 0 and at most 60, not "soon"$/],
    [{ hold: '60.1' }, {}, /^--hold must be a number of at least 0 and at most 60, not "60.1"$/],
    [{ hold: 'Infinity' }, {}, /^--hold must be a number/],
    [{ hold: 'NaN' }, {}, /^--hold must be a number/],
    [{ runs: '1.5' }, {}, /^--runs must be a whole number of at least 1, not "1.5"$/],
    [{ runs: '0' }, {}, /^--runs must be a whole number of at least 1, not "0"$/],

    [{ hold: '-1' }, {}, /^--hold must be a number/],
    [{}, { PORTFERRY_HOLD: 'x' }, /^PORTFERRY_HOLD must be/],
    [{ level: 'loud' }, {}, /^--level must be one of info, debug, not "loud"$/],
    [{ listen: ['a', 'b'] }, {}, /^--listen is given 2 times/],
    [{ listen: '' }, {}, /^--listen must be a string that is not empty/],
    [{}, { PORTFERRY_JSON: 'maybe' }, /^PORTFERRY_JSON must be true or false, not "maybe"$/],
    [
      { config: file(t, { forward: 8080 }) },
      {},
      /^"forward" in .*c.json must be a list of strings, not 8080$/,
    ],
  ];
  for (const [flags, environment, message] of wrong)
    t.throws(() => resolve(flags, environment), { name: 'UsageError', message });
});

t.test('a number in a file has the same bounds', async (t) => {
  t.throws(() => resolve({ config: file(t, { hold: 3_000_000 }) }), {
    name: 'UsageError',
    message: /^"hold" in .*c\.json must be a number of at least 0 and at most 60, not 3000000$/,
  });
});

t.test('a configuration file that is not there', async (t) => {
  t.throws(() => resolve({ config: `${t.testdir({})}/none.json` }), { message: /cannot be read/ });
});

t.test('a configuration file with wrong content', async (t) => {
  const cases: [string, RegExp][] = [
    ['{"hold": ', /is not valid JSON/],
    ['[1]', /must hold one JSON object/],
    ['null', /must hold one JSON object/],
    ['{"hodl": 1}', /unknown key "hodl" in the configuration file .*: known are listen, connect, /],
    ['{"config": "x"}', /unknown key "config"/],
  ];
  for (const [content, message] of cases)
    await t.test(content, async (t) => {
      t.throws(() => resolve({ config: file(t, content) }), { message });
      t.throws(() => resolve({ config: file(t, content) }), UsageError);
    });
});
