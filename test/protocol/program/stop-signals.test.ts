import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import t from 'tap';
import { type EndingProcess, stopOnSignals } from '../../../protocol/program/stop-signals.js';
import { LogRecorder } from '../../fixtures/log-recorder.js';

/** A process that only says how it would have ended. */
class FakeProcess extends EventEmitter implements EndingProcess {
  readonly exits: number[] = [];
  readonly stdin = new PassThrough();

  exit(code: number): void {
    this.exits.push(code);
  }
}

t.test('stops in order at the first signal, and at once at the second', async (t) => {
  const self = new FakeProcess();
  const { stop, abandon, release } = stopOnSignals({ environment: {}, process: self });
  t.equal(stop.aborted, false);
  self.emit('SIGINT', 'SIGINT');
  t.equal(stop.aborted, true);
  t.same(self.exits, []);
  t.equal(abandon.aborted, false);
  self.emit('SIGTERM', 'SIGTERM');
  t.same(self.exits, [143]);
  t.equal(abandon.aborted, true);
  release();
  t.same(self.eventNames(), []);
});

t.test('leaves alone what was ignored at the start', async (t) => {
  const self = new FakeProcess();
  stopOnSignals({ environment: { PORTFERRY_IGNORED_SIGNALS: 'HUP QUIT ' }, process: self });
  t.same(self.eventNames(), ['SIGINT', 'SIGTERM']);
});

t.test('a fault is logged with its stack, resets what is open, and ends the process', async (t) => {
  const self = new FakeProcess();
  const log = new LogRecorder();
  const { abandon, release } = stopOnSignals({ environment: {}, logger: log.logger, process: self });
  self.emit('uncaughtException', new TypeError('oops'));
  t.same(self.exits, [1]);
  t.equal(abandon.aborted, true);
  t.match(log.lines, [
    { level: 60, msg: /report this line: oops$/, err: { type: 'TypeError', stack: / at / } },
  ]);
  release();
  t.same(self.eventNames(), []);
});

t.test('ends with a parent that holds the leash, and not without one', async (t) => {
  const free = new FakeProcess();
  stopOnSignals({ environment: {}, process: free });
  const leashed = new FakeProcess();
  const { stop, abandon } = stopOnSignals({ environment: { PORTFERRY_LEASH: 'stdin' }, process: leashed });
  const released = new FakeProcess();
  stopOnSignals({ environment: { PORTFERRY_LEASH: 'stdin' }, process: released }).release();
  for (const { stdin } of [free, released, leashed]) stdin.end();
  for (const { stdin } of [free, released]) stdin.destroy();
  await new Promise((resolve) => leashed.stdin.once('close', resolve));
  t.same([free.exits, released.exits, leashed.exits], [[], [], [1]]);
  t.same([stop.aborted, abandon.aborted], [false, true]);
});

t.test('listens to this process unless told otherwise', async (t) => {
  const before = process.listenerCount('SIGTERM');
  const { release } = stopOnSignals({ environment: {} });
  t.equal(process.listenerCount('SIGTERM'), before + 1);
  release();
  t.equal(process.listenerCount('SIGTERM'), before);
});
