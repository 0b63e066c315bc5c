import { readFileSync } from 'node:fs';
import t from 'tap';
import { OLDEST_NODE, problemOfNode } from '../../../protocol/program/node-release.js';

t.test('the oldest release is the one that the package names', async (t) => {
  const { engines } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  t.equal(engines.node, `>=${OLDEST_NODE}`);
});

t.test('an older release is refused in one line', async (t) => {
  for (const version of ['v20.19.0', 'v20.20.2', 'v22.0.0', 'v26.12.1', process.version])
    t.equal(problemOfNode(version), undefined, version);
  for (const version of ['v20.18.3', 'v18.20.8', 'v12.22.12'])
    t.equal(problemOfNode(version), `this is Node.js ${version}, which is too old: install 20.19 or later`);
});
