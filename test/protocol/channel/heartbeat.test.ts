import { mock } from 'node:test';
import t from 'tap';
import { Heartbeat, PING_INTERVAL_MS, PING_TIMEOUT_MS } from '../../../protocol/channel/heartbeat.js';

t.beforeEach(() => mock.timers.enable({ apis: ['setInterval'] }));
t.afterEach(() => mock.timers.reset());

function setup() {
  const state = { now: 1000, pings: [] as number[], silences: [] as number[] };
  const heartbeat = new Heartbeat(
    (token) => state.pings.push(token),
    (silentMs) => state.silences.push(silentMs),
    () => state.now,
  );
  t.teardown(() => heartbeat.stop());
  /** Lets one interval pass. */
  const pass = (ms = PING_INTERVAL_MS): void => {
    state.now += ms;
    mock.timers.tick(PING_INTERVAL_MS);
  };
  return { state, heartbeat, pass };
}

t.test('asks at once and then at a steady pace, with a new token each time', (t) => {
  const { state, heartbeat, pass } = setup();
  t.same(state.pings, [1]);
  for (let count = 0; count < 3; count++) {
    heartbeat.heard();
    pass();
  }
  t.same(state.pings, [1, 2, 3, 4]);
  heartbeat.stop();
  pass();
  t.equal(state.pings.length, 4);
  t.same(state.silences, []);
  t.end();
});

t.test('measures the round trip of the last ping only', (t) => {
  const { state, heartbeat, pass } = setup();
  t.equal(heartbeat.roundTripMs, undefined);
  state.now += 7;
  heartbeat.pong(1);
  t.equal(heartbeat.roundTripMs, 7);
  heartbeat.heard();
  pass();
  state.now += 3;
  heartbeat.pong(1);
  t.equal(heartbeat.roundTripMs, 7, 'a late answer measures nothing');
  heartbeat.pong(2);
  t.equal(heartbeat.roundTripMs, 3);
  t.end();
});

t.test('a peer that is silent through the timeout is reported with how long', (t) => {
  const { state, heartbeat, pass } = setup();
  heartbeat.heard();
  pass();
  t.same(state.silences, []);
  for (let silent = PING_INTERVAL_MS; silent < PING_TIMEOUT_MS; silent += PING_INTERVAL_MS) {
    pass();
    t.same(state.silences, []);
  }
  const asked = state.pings.length;
  pass();
  t.same(state.silences, [PING_TIMEOUT_MS]);
  t.equal(state.pings.length, asked, 'it is not asked again');
  t.end();
});

t.test('anything heard puts it off', (t) => {
  const { state, heartbeat, pass } = setup();
  for (let count = 0; count < 20; count++) {
    if (count % 2 === 0) heartbeat.heard();
    pass();
  }
  t.same(state.silences, []);
  t.end();
});

t.test('time that this process slept does not count against the peer', (t) => {
  const { state, pass } = setup();
  pass();
  pass(8 * 3600 * 1000);
  t.same(state.silences, []);
  t.equal(state.pings.length, 3, 'it is asked');
  pass();
  pass();
  t.same(state.silences, []);
  pass();
  t.same(state.silences, [PING_TIMEOUT_MS], 'and then found dead all the same');
  t.end();
});

t.test('its own clock only goes forward', (t) => {
  const heartbeat = new Heartbeat(
    () => {},
    () => {},
  );
  t.teardown(() => heartbeat.stop());
  heartbeat.pong(1);
  t.ok((heartbeat.roundTripMs ?? -1) >= 0);
  t.end();
});
