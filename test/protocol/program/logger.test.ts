import { closeSync, existsSync, openSync } from 'node:fs';
import { prettyFactory } from 'pino-pretty';
import t from 'tap';
import {
  createLogger,
  jsonLines,
  logDestination,
  MAX_UNWRITTEN_BYTES,
  PRETTY,
} from '../../../protocol/program/logger.js';

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

t.test('what cannot be written is kept up to a bound', async (t) => {
  if (!existsSync('/dev/full')) return t.plan(0, 'there is no /dev/full');
  const full = openSync('/dev/full', 'w');
  t.teardown(() => closeSync(full));
  let dropped = 0;
  const lines = jsonLines(full).on('drop', () => void dropped++);
  const line = `${'x'.repeat(1023)}\n`;
  for (let bytes = 0; bytes < MAX_UNWRITTEN_BYTES; bytes += line.length) lines.write(line);
  t.equal(dropped, 0);
  for (let count = 0; count < 10; count++) lines.write(line);
  t.equal(dropped, 10);
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
