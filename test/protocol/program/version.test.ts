import t from 'tap';
import { OperationError } from '../../../protocol/errors.js';
import { readVersion, VERSION } from '../../../protocol/program/version.js';

t.test('reads the package beside the sources', async (t) => {
  t.match(VERSION, /^\d+\.\d+\.\d+/);
});

t.test('reads the package from the built program', async (t) => {
  const folder = t.testdir({
    'package.json': '{"name":"portferry","version":"9.8.7"}',
    dist: { protocol: { program: {} } },
  });
  t.equal(readVersion(`file://${folder}/dist/protocol/program/version.js`), '9.8.7');
});

t.test('says when the package is not there, or is another one', async (t) => {
  const folder = t.testdir({ 'package.json': '{"name":"other","version":"1.0.0"}' });
  t.throws(() => readVersion(`file://${folder}/a/b/version.js`), OperationError);
});
