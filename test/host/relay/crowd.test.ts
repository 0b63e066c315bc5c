import { mock } from 'node:test';
import t from 'tap';
import { Crowd, RESUME_DELAY_MS } from '../../../host/relay/crowd.js';
import { LogRecorder, WARN } from '../../fixtures/log-recorder.js';
import { Signal } from '../../protocol/fixtures/signal.js';

function setup(maxClients: number) {
  const room = { maxClients };
  const { logger, lines } = new LogRecorder();
  const changes: boolean[] = [];
  const signal = new Signal();
  const setAccepting = (accepting: boolean): void => {
    changes.push(accepting);
    signal.wake();
  };
  return { room, lines, changes, signal, crowd: new Crowd({ room, setAccepting, logger }) };
}

t.test(
  'accepting pauses with the last client that there is room for, and goes on when one leaves',
  async (t) => {
    const { crowd, changes, signal, lines } = setup(2);
    t.ok(crowd.enter());
    t.same(changes, []);
    t.ok(crowd.enter());
    t.same(changes, [false]);
    t.match(lines, [{ level: WARN, msg: /^clients wait: 2 are being served.*raise the limit/ }]);
    crowd.leave();
    crowd.leave();
    await signal.until(() => changes.length === 2);
    t.same(changes, [false, true], 'once for both that have left');
    crowd.leave();
    t.equal(changes.length, 2);
  },
);

t.test('a client that comes all the same is not served', async (t) => {
  const { crowd, changes, lines } = setup(1);
  t.ok(crowd.enter());
  for (let count = 0; count < 100; count++) {
    t.notOk(crowd.enter());
    crowd.leave();
  }
  t.same(changes, [false], 'it costs the listeners nothing');
  t.equal(lines.length, 1 + 3, 'and the log three lines');
  t.match(lines[1], { msg: /^a client is reset, for it cannot wait: 1 are being served/ });
});

t.test('room that is taken again before accepting goes on', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const { crowd, room, changes } = setup(1);
  crowd.enter();
  crowd.leave();
  crowd.enter();
  room.maxClients = 0;
  crowd.leave();
  crowd.roomMade();
  t.same(changes, [false]);
  mock.timers.tick(RESUME_DELAY_MS);
  t.same(changes, [false]);
  room.maxClients = 1;
  crowd.roomMade();
  mock.timers.tick(RESUME_DELAY_MS);
  t.same(changes, [false, true]);
});

t.test('forwards that are there only to pass clients on need not pause', async (t) => {
  const { logger } = new LogRecorder();
  const crowd = new Crowd({ room: { maxClients: 1 }, logger });
  t.ok(crowd.enter());
  t.notOk(crowd.enter());
  crowd.leave();
  crowd.leave();
  crowd.enter();
});
