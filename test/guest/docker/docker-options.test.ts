import { join } from 'node:path';
import t from 'tap';
import { readDockerOptions } from '../../../guest/docker/docker-options.js';
import { DEFAULT_RULES } from '../../../guest/docker/rules.js';

const usual = { socket: '/var/run/docker.sock', rules: DEFAULT_RULES, expected: true };
const there = (): boolean => true;
const nowhere = (): boolean => false;

function read(docker: string | undefined, viaApi: boolean, exists?: () => boolean): unknown {
  return readDockerOptions({ docker, 'publish-rules': undefined }, viaApi, exists);
}

t.test('without a word the usual socket is waited for, unless programs publish themselves', async (t) => {
  t.same(read(undefined, false, there), usual);
  t.same(read(undefined, false, nowhere), { ...usual, expected: false });
  t.equal(read(undefined, true, there), undefined);
});

t.test('what is said is done', async (t) => {
  t.equal(read('off', false), undefined);
  t.same(read('/var/run/docker.sock', true), usual);
  t.same(read('/run/d.sock', false, nowhere), { ...usual, socket: '/run/d.sock' });
  t.match(read('unix:///run/d.sock', false), { socket: '/run/d.sock' });
  t.match(read('unix:/run/d.sock', false), { socket: '/run/d.sock' });
  t.throws(() => read('tcp://127.0.0.1:2375', false), {
    name: 'UsageError',
    message: /--docker must be the path of .* not "tcp:/,
  });
});

t.test('rules are read, and mean that containers are to be published', async (t) => {
  const path = join(t.testdir({ 'r.json': '[{"ports":1}]' }), 'r.json');
  const options = readDockerOptions({ docker: undefined, 'publish-rules': path }, true, nowhere);
  t.equal(options?.rules.length, 1 + DEFAULT_RULES.length);
  t.equal(options?.socket, usual.socket);
  t.equal(readDockerOptions({ docker: 'off', 'publish-rules': path }, true), undefined);
  const wrong = { docker: 'off', 'publish-rules': `${path}x` };
  t.throws(() => readDockerOptions(wrong, true), { name: 'UsageError', message: /cannot be read/ });
});
