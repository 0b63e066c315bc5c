import t from 'tap';
import { LogTail } from '../../../protocol/program/log-tail.js';
import { createLogger } from '../../../protocol/program/logger.js';

t.test('what is logged goes where it did, and the last lines are known', async (t) => {
  const written: string[] = [];
  const tail = new LogTail({ write: (line) => void written.push(line) });
  const logger = createLogger('info', tail);
  t.same(tail.lines(), []);
  for (let number = 0; number < 1000; number++) logger.info({ number }, 'a line');
  logger.debug('nobody logs this');
  t.equal(written.length, 1000);
  const lines = tail.lines();
  t.equal(lines.length, 300);
  t.equal(`${lines.at(-1)}\n`, written.at(-1));
  t.match(JSON.parse(lines[0] ?? ''), { number: 700 });
});

t.test('they take little memory, however long they are', async (t) => {
  const tail = new LogTail({ write: () => {} });
  for (let number = 0; number < 100; number++) tail.write(`${number} ${'x'.repeat(100_000)}\n`);
  const lines = tail.lines();
  t.equal(lines.length, 32);
  t.ok(lines.every(({ length }) => length === 4096));
  t.match(lines.at(-1), /^99 x/);
});

t.test('a fault is written before the program ends', async (t) => {
  let flushed = 0;
  const destination = { write: () => {}, flushSync: () => flushed++ };
  createLogger('info', new LogTail(destination)).fatal('over');
  t.equal(flushed, 1);
  createLogger('info', new LogTail({ write: () => {} })).fatal('over');
});
