import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import t from 'tap';
import { StateFile } from '../../../host/forwards/state-file.js';
import { type ForwardRule, formatRule, parseSpec } from '../../../host/rule/forward-spec.js';
import { LogRecorder } from '../../fixtures/log-recorder.js';

function makeState(path: string, retryMs?: number): { state: StateFile; log: LogRecorder } {
  const log = new LogRecorder();
  return { state: new StateFile(path, log.logger, retryMs), log };
}

/** What a host would find that starts now. */
async function saved(path: string): Promise<string[]> {
  return (await makeState(path).state.load()).map(formatRule);
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
  const { state, log } = makeState(path);
  t.same(await state.load(), []);
  await state.save(() => rules);
  t.equal(state.problem, undefined);
  t.same(await saved(path), rules.map(formatRule));
  t.equal(statSync(path).mode & 0o777, 0o600);
  await state.close();
  t.same(log.lines, []);
});

t.test('those who save at the same time share a save, and nothing else is left behind', async (t) => {
  const folder = t.testdir({});
  const { state } = makeState(`${folder}/state.json`);
  let rules: ForwardRule[] = [];
  let asked = 0;
  const current = (): ForwardRule[] => {
    asked++;
    return rules;
  };
  const saves = Array.from({ length: 1000 }, (_, index) => {
    rules = parseSpec(`${index + 1}:1`);
    return state.save(current);
  });
  await Promise.all(saves);
  t.equal(asked, 1);
  const during = state.save(current);
  await new Promise(setImmediate);
  rules = parseSpec('2000:1');
  await Promise.all([during, state.save(current), state.save(current)]);
  t.equal(asked, 3, 'what changes during a save is in the next one');
  t.same(await saved(`${folder}/state.json`), ['localhost:2000:127.0.0.1:1/tcp']);
  t.same(readdirSync(folder), ['state.json']);
});

t.test('a file that cannot be understood is kept aside, and so is the next one', async (t) => {
  const contents = ['{"version":1,"forw', '{"version":"2","forwards":[]}', 'null', '{"version":1}'];
  const path = `${t.testdir({})}/state.json`;
  for (const [index, content] of contents.entries()) {
    writeFileSync(path, content);
    const { state, log } = makeState(path);
    t.same(await state.load(), []);
    const aside = index === 0 ? `${path}.corrupt` : `${path}.corrupt.${index + 1}`;
    t.equal(readFileSync(aside, 'utf8'), content);
    t.match(state.aside, { path: aside, reason: /./ });
    t.same(await saved(path), []);
    t.equal(log.lines.length, 1);
    t.match(log.lines[0], {
      msg: /cannot be understood in whole .*: it is kept as .*\.corrupt.*; 0 of its forwards are restored/,
    });
  }
  for (let number = 1; number <= 100; number++)
    writeFileSync(number === 1 ? `${path}.corrupt` : `${path}.corrupt.${number}`, '');
  writeFileSync(path, 'null');
  await t.rejects(makeState(path).state.load(), {
    name: 'OperationError',
    message: /^cannot put aside the state file .*: there are 100 such files already: remove /,
  });
  t.equal(readFileSync(path, 'utf8'), 'null');
});

t.test('what earlier versions have saved is read', async (t) => {
  // Written by the first one, and by the first one that had UDP; since then there have been more optional fields only.
  const first = [
    '127.0.0.1:18080:127.0.0.1:80/tcp',
    'localhost:18081:127.0.0.1:81/tcp',
    '0.0.0.0:18082:127.0.0.1:82/tcp',
    '*:18084:127.0.0.1:84/tcp',
    'unix:/tmp/portferry/s.sock:/var/run/docker.sock',
  ];
  const udp = [
    ...['localhost:18083:127.0.0.1:53/udp', 'localhost:18085:127.0.0.1:53/udp/idle=30'],
    'localhost:18086:127.0.0.1:80/tcp/proxy=v2',
  ];
  for (const [name, forwards] of Object.entries({ first, udp: [...first, ...udp] })) {
    const path = `${t.testdir({})}/state.json`;
    copyFileSync(new URL(`../../fixtures/state-files/${name}.json`, import.meta.url), path);
    const { state, log } = makeState(path);
    t.same((await state.load()).map(formatRule), forwards);
    t.equal(state.aside, undefined);
    t.same(log.lines, []);
  }
});

t.test('a file of a version to come is kept aside with its number', async (t) => {
  const path = `${t.testdir({})}/state.json`;
  const content = '{"version":2,"forwards":[{"proto":"quic"}],"more":{}}';
  for (const aside of [`${path}.version-2`, `${path}.version-2.2`]) {
    writeFileSync(path, content);
    const { state, log } = makeState(path);
    t.same(await state.load(), []);
    t.equal(readFileSync(aside, 'utf8'), content);
    const reason = 'a newer portferry has written it: it is of version 2, and this one knows 1';
    t.same(state.aside, { path: aside, reason });
    t.match(log.lines, [{ level: 40, msg: `(${reason}): it is kept as ${aside}; 0 of its forwards` }]);
  }
});

t.test('of a file with bad entries the others are restored, and the bad ones named', async (t) => {
  const path = `${t.testdir({})}/state.json`;
  const good = { proto: 'tcp', out_ip: '127.0.0.1', out_port: 8080, in_ip: '127.0.0.1', in_port: 80 };
  const forwards = [good, { ...good, out_port: 70_000 }, null, { ...good, out_port: 8081 }];
  const content = JSON.stringify({ version: 1, forwards });
  writeFileSync(path, content);
  const { state, log } = makeState(path);
  t.same((await state.load()).map(formatRule), [
    '127.0.0.1:8080:127.0.0.1:80/tcp',
    '127.0.0.1:8081:127.0.0.1:80/tcp',
  ]);
  t.match(log.lines, [
    {
      msg: /\(entry 2, \{.*70000.*\}: "out_port" must be a port .*\): it is kept as .*\.corrupt; 2 of its forwards/,
      problems: { length: 2, 1: /^entry 3, null: / },
    },
  ]);
  t.equal(readFileSync(`${path}.corrupt`, 'utf8'), content);
  t.equal((await saved(path)).length, 2);
  t.notOk(existsSync(`${path}.corrupt.2`));
});

t.test('what a save that was killed has left is cleared at start', async (t) => {
  const folder = t.testdir({
    'state.json': '{"version":1,"forwards":[]}',
    'state.json.0123456789ab.tmp': '{"vers',
    'state.json.mine.tmp': '',
    'other.json.0123456789ab.tmp': '',
  });
  t.same(await saved(`${folder}/state.json`), []);
  t.same(readdirSync(folder).sort(), ['other.json.0123456789ab.tmp', 'state.json', 'state.json.mine.tmp']);
});

t.test('a file that cannot be read or written is refused at start', async (t) => {
  const folder = t.testdir({ folder: { x: '' } });
  await t.rejects(makeState(`${folder}/folder`).state.load(), {
    name: 'OperationError',
    message: /^cannot read the state file .*\/folder: it is no file$/,
  });
  await t.rejects(makeState(`${folder}/none/state.json`).state.load(), {
    name: 'OperationError',
    message: /^cannot write the state file .*: no such file or directory \(ENOENT\)$/,
  });
  t.same(readdirSync(folder), ['folder']);
  const long = `${folder}/${'x'.repeat(240)}`;
  writeFileSync(`${long}.state-file`, 'null');
  await t.rejects(makeState(`${long}.state-file`).state.load(), {
    message: /^cannot put aside the state file .*ENAMETOOLONG/,
  });
});

t.test('a link, and what belongs to another user, is neither read nor replaced', async (t) => {
  const folder = t.testdir({ real: 'secret' });
  symlinkSync(`${folder}/real`, `${folder}/link`);
  await t.rejects(makeState(`${folder}/link`).state.load(), {
    message: /^cannot read the state file .*\/link: .*\(ELOOP\)$/,
  });
  t.intercept(process, 'getuid', { value: () => 4711 });
  await t.rejects(makeState(`${folder}/real`).state.load(), {
    message: /^cannot read the state file .*\/real: it belongs to user \d+$/,
  });
  t.same([readdirSync(folder).sort(), readFileSync(`${folder}/real`, 'utf8')], [['link', 'real'], 'secret']);
});

t.test('what cannot be saved is told, and saved as soon as that is possible', async (t) => {
  const folder = t.testdir({ state: {} });
  const path = `${folder}/state/state.json`;
  const { state, log } = makeState(path, 5);
  t.same(await state.load(), []);
  renameSync(`${folder}/state`, `${folder}/gone`);
  await state.save(() => parseSpec('1:1'));
  t.match(state.problem, /^cannot write the state file .*: no such file or directory \(ENOENT\)$/);
  await state.save(() => parseSpec('2:2'));
  t.equal(log.matching(/: what is exposed now will not outlast a restart/).length, 1, 'said once');
  renameSync(`${folder}/gone`, `${folder}/state`);
  await log.line(/^the state file .* is saved again$/);
  t.equal(state.problem, undefined);
  t.same(await saved(path), ['localhost:2:127.0.0.1:2/tcp']);
  await state.close();
});

t.test('a host that stops tries once more to save', async (t) => {
  const folder = t.testdir({ state: {} });
  const path = `${folder}/state/state.json`;
  const { state } = makeState(path);
  renameSync(`${folder}/state`, `${folder}/gone`);
  await state.save(() => parseSpec('1:1'));
  mkdirSync(`${folder}/state`);
  await state.close();
  t.equal(state.problem, undefined);
  t.same(await saved(path), ['localhost:1:127.0.0.1:1/tcp']);

  const other = makeState(`${folder}/none/state.json`).state;
  await other.save(() => []);
  await other.close();
  t.match(other.problem, /ENOENT/, 'in vain');
});
