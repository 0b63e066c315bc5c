import { prettyFactory } from 'pino-pretty';
import t from 'tap';
import { createLogger, logDestination, PRETTY } from '../../../protocol/program/logger.js';

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

t.test('on a terminal a line is one line, with what it is about before its sentence', async (t) => {
  const pretty = prettyFactory({ ...PRETTY, colorize: false });
  const lines: string[] = [];
  const logger = createLogger('info', { write: (line) => void lines.push(pretty(line)) });
  const forward = 'tcp localhost:8080';
  logger.info({ forward, destination: 'tcp 127.0.0.1:80' }, 'listening on 127.0.0.1:8080');
  logger.warn({ forward, streamId: 3, termination: 'SC', errno: 'ECONNREFUSED' }, 'client reset: refused');
  logger.info({ client: '127.0.0.1:5', streamId: 3, destination: 'tcp 127.0.0.1:80', code: 'X' }, 'ended');
  logger.info({ features: ['ping'], address: 'unix:/c' }, 'the channel is up');
  logger.info('bare');
  logger.error({ err: new RangeError('no') }, 'failed');
  t.same(
    lines.slice(0, 5).map((line) => line.replace(/^\[\S+\] /, '')),
    [
      'INFO: [tcp localhost:8080 → tcp 127.0.0.1:80] listening on 127.0.0.1:8080\n',
      'WARN: [tcp localhost:8080, stream 3, SC] client reset: refused\n',
      'INFO: [tcp 127.0.0.1:80, client 127.0.0.1:5, stream 3] ended\n',
      'INFO: the channel is up\n',
      'INFO: bare\n',
    ],
  );
  t.match(lines[5], /failed\n +err: \{/, 'an error has its stack');
});
