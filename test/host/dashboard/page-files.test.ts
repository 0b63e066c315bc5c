import t from 'tap';
import { readPageFiles } from '../../../host/dashboard/page-files.js';

t.test('what a browser may ask for is in memory', async (t) => {
  const folder = t.testdir({
    'index.html': '<p>',
    'a-1.js': 'x',
    'a-1.css': 'y',
    'i-1.svg': 'z',
    notes: 'n',
  });
  const files = readPageFiles(folder);
  t.same([...files.keys()].sort(), ['/', '/a-1.css', '/a-1.js', '/i-1.svg']);
  t.match(files.get('/'), { type: /^text\/html/, lasting: false });
  t.match(files.get('/a-1.js'), { type: /^text\/javascript/, lasting: true, content: Buffer.from('x') });
});

t.test('a page that was not built', async (t) => {
  t.throws(() => readPageFiles(t.testdir()), { name: 'OperationError', message: /run npm run build/ });
});
