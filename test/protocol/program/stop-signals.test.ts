import { EventEmitter } from 'node:events';
import t from 'tap';
import { stopOnSignals } from '../../../protocol/program/stop-signals.js';

t.test('stops in order at the first signal, and at once at the second', async (t) => {
  const signals = new EventEmitter();
  const exits: number[] = [];
  const { stop, abandon, release } = stopOnSignals(signals, (code) => void exits.push(code));
  t.equal(stop.aborted, false);
  signals.emit('SIGINT', 'SIGINT');
  t.equal(stop.aborted, true);
  t.same(exits, []);
  t.equal(abandon.aborted, false);
  signals.emit('SIGTERM', 'SIGTERM');
  t.same(exits, [143]);
  t.equal(abandon.aborted, true);
  release();
  t.equal(signals.listenerCount('SIGINT'), 0);
});

t.test('listens to the process unless told otherwise', async (t) => {
  const before = process.listenerCount('SIGTERM');
  const { release } = stopOnSignals();
  t.equal(process.listenerCount('SIGTERM'), before + 1);
  release();
  t.equal(process.listenerCount('SIGTERM'), before);
});
