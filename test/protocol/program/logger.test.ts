import t from 'tap';
import { createLogger, logDestination } from '../../../protocol/program/logger.js';

t.test('writes JSON lines with errors serialized', async (t) => {
  const lines: string[] = [];
  const logger = createLogger('info', { write: (line) => void lines.push(line) });
  logger.debug('too fine');
  logger.error({ err: new RangeError('no') }, 'failed');
  t.equal(lines.length, 1);
  t.match(JSON.parse(lines[0] ?? ''), { msg: 'failed', err: { type: 'RangeError', message: 'no' } });
});

t.test('has a destination for terminals and one for everything else', async (t) => {
  t.type((await logDestination(false)).write, 'function');
  const pretty = await logDestination(true);
  t.type(pretty.write, 'function');
  t.ok(createLogger('silent'));
});
