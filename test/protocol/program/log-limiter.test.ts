import { mock } from 'node:test';
import t from 'tap';
import { LogLimiter } from '../../../protocol/program/log-limiter.js';
import { LogRecorder } from '../../fixtures/log-recorder.js';

const LONG_MS = 1_000_000;

t.test('equal lines are summed up', async (t) => {
  const log = new LogRecorder();
  const limiter = new LogLimiter(log.logger, { intervalMs: LONG_MS });
  for (let n = 1; n <= 1000; n++) limiter.log('warn', 'refused', { n }, `refused ${n}`);
  limiter.log('warn', 'other', {}, 'another kind');
  t.equal(log.lines.length, 4);
  limiter.flush();
  t.match(log.lines.at(-1), {
    n: 1000,
    more: 997,
    msg: /^refused 1000 \(the last of 997 more like it within/,
  });
  t.equal(log.lines.length, 5, 'what was logged whole is not told again');
  limiter.flush();
  t.equal(log.lines.length, 5);
});

t.test('they are told by themselves after a while, and then begin anew', async (t) => {
  const log = new LogRecorder();
  const limiter = new LogLimiter(log.logger, { intervalMs: 1, linesPerInterval: 1 });
  const kept = setTimeout(() => {}, LONG_MS);
  t.teardown(() => clearTimeout(kept));
  limiter.log('warn', 'refused', {}, 'first');
  limiter.log('warn', 'refused', {}, 'second');
  t.match(await log.line(/^second/), { more: 1 });
  limiter.log('warn', 'refused', {}, 'third');
  await log.line(/^third$/);
});

t.test('what has been logged whole needs no timer, and is forgotten after a while', (t) => {
  let now = 1000;
  mock.method(performance, 'now', () => now);
  const timers = mock.method(globalThis, 'setTimeout');
  t.teardown(() => mock.restoreAll());
  const log = new LogRecorder();
  const limiter = new LogLimiter(log.logger, { intervalMs: LONG_MS, linesPerInterval: 1 });
  limiter.log('info', 'found', {}, 'first');
  now += LONG_MS;
  limiter.log('info', 'found', {}, 'second');
  t.equal(log.lines.length, 2);
  t.equal(timers.mock.callCount(), 0);
  limiter.flush();
  t.end();
});

t.test('kinds without end are one kind', (t) => {
  const log = new LogRecorder();
  const limiter = new LogLimiter(log.logger, { intervalMs: LONG_MS, maxKinds: 2 });
  for (let n = 0; n < 1000; n++) limiter.log('info', `kind ${n}`, {}, `line ${n}`);
  limiter.log('info', 'kind 0', {}, 'a known kind');
  t.equal(log.lines.length, 6);
  limiter.flush();
  t.match(log.lines.at(-1), { msg: /^line 999 \(the last of 995 more of many kinds within/ });
  t.end();
});
