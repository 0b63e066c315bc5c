import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import t from 'tap';
import { StateFile } from '../../../host/forwards/state-file.js';
import { formatRule, parseSpec } from '../../../host/rule/forward-spec.js';
import { createLogger } from '../../../protocol/program/logger.js';

function makeState(path: string): { state: StateFile; lines: string[] } {
  const lines: string[] = [];
  return {
    state: new StateFile(path, createLogger('info', { write: (line) => void lines.push(line) })),
    lines,
  };
}

const SPECS = [
  '8080:80',
  '127.0.0.1:8081:172.17.0.2:80',
  '*:8082:80/proxy=v1',
  '[::]:8083:80',
  '8084:53/udp/idle=30',
  'unix:/a:/b',
];

t.test('what is saved comes back, from a file that only its owner can read', async (t) => {
  const path = `${t.testdir({})}/state.json`;
  const rules = SPECS.flatMap(parseSpec);
  const { state, lines } = makeState(path);
  t.same(await state.load(), []);
  await state.save(rules);
  t.same((await makeState(path).state.load()).map(formatRule), rules.map(formatRule));
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.same(lines, []);
});

t.test('saves follow one another, and leave nothing else behind', async (t) => {
  const folder = t.testdir({});
  const { state } = makeState(`${folder}/state.json`);
  await Promise.all([state.save(parseSpec('1:1')), state.save([]), state.save(parseSpec('2:2'))]);
  t.match((await state.load()).map(formatRule), ['localhost:2:127.0.0.1:2/tcp']);
  t.same(readdirSync(folder), ['state.json']);
});

t.test('a file that cannot be understood is kept aside', async (t) => {
  const contents = [
    '{"version":1,"forw',
    '{"version":2,"forwards":[]}',
    'null',
    '{"version":1,"forwards":[{"proto":"x"}]}',
  ];
  for (const content of contents)
    await t.test(content, async (t) => {
      const path = `${t.testdir({ 'state.json': content })}/state.json`;
      const { state, lines } = makeState(path);
      t.same(await state.load(), []);
      t.equal(readFileSync(`${path}.corrupt`, 'utf8'), content);
      t.notOk(existsSync(path));
      t.equal(lines.length, 1);
      t.match(lines[0], /cannot be understood .* it is kept as .*\.corrupt/);
    });
});

t.test('a file that cannot be read or written', async (t) => {
  const folder = t.testdir({ folder: { x: '' } });
  const { state } = makeState(`${folder}/folder`);
  await t.rejects(state.load(), { name: 'OperationError', message: /^cannot read the state file/ });
  await t.rejects(state.save([]), { name: 'OperationError', message: /^cannot write the state file/ });
  t.same(readdirSync(folder), ['folder']);
  await t.rejects(makeState(`${folder}/none/state.json`).state.save([]), { name: 'OperationError' });
});

t.test('restoring keeps what cannot be had now', async (t) => {
  const path = `${t.testdir({})}/state.json`;
  const [one, two, three] = ['1:1', '2:2', '3:3'].flatMap(parseSpec);
  if (!one || !two || !three) throw new Error('three rules');
  await makeState(path).state.save([one, two, three]);
  const { state, lines } = makeState(path);
  const exposed: string[] = [];
  await state.restore(async (rule) => {
    if (rule.proto === 'tcp' && rule.hostPort === 2) throw new Error('taken');
    exposed.push(formatRule(rule));
  });
  t.same(exposed, [one, three].map(formatRule));
  t.match(JSON.parse(lines[0] ?? ''), { err: { message: 'taken' }, forward: formatRule(two) });
  await state.save([one]);
  t.same((await makeState(path).state.load()).map(formatRule), [one, two].map(formatRule));
  await state.save([one, two]);
  t.same((await makeState(path).state.load()).map(formatRule), [one, two].map(formatRule));
});
