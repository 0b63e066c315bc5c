import { EventEmitter } from 'node:events';
import t from 'tap';
import { changeLevelOnSignal } from '../../../protocol/program/level-signal.js';
import { changeLevel, createLogger } from '../../../protocol/program/logger.js';

t.test('a signal has a program log at debug, and the next one as before', async (t) => {
  const messages: string[] = [];
  const logger = createLogger('warn', { write: (line) => void messages.push(JSON.parse(line).msg) });
  const self = new EventEmitter();
  const release = changeLevelOnSignal(logger, self);
  for (const level of ['debug', 'warn', 'debug']) {
    self.emit('SIGUSR2');
    t.equal(logger.level, level);
  }
  t.same(messages, [
    'the log level is debug now, and was warn: asked for by SIGUSR2',
    'the log level is warn now, and was debug: asked for by SIGUSR2',
    'the log level is debug now, and was warn: asked for by SIGUSR2',
  ]);
  release();
  t.same(self.eventNames(), []);
});

t.test('what is so already is not said, nor what neither level shows', async (t) => {
  let lines = 0;
  const logger = createLogger('error', { write: () => void lines++ });
  changeLevel(logger, 'error', 'x');
  changeLevel(logger, 'fatal', 'x');
  changeLevel(logger, 'silent', 'x');
  t.equal(logger.level, 'silent');
  t.equal(lines, 0);
});
