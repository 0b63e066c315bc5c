import { mock } from 'node:test';
import t from 'tap';
import { Heartbeat, PING_INTERVAL_MS, PING_TIMEOUT_MS } from '../../../protocol/channel/heartbeat.js';

t.beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
t.afterEach(() => mock.timers.reset());

function setup() {
  const state = { now: 1000, pings: [] as number[], silences: [] as number[] };
  const heartbeat = new Heartbeat(
    (token) => state.pings.push(token),
    (silentMs) => state.silences.push(silentMs),
    () => state.now,
  );
  t.teardown(() => heartbeat.stop());
  /** Lets time pass, by default one interval. */
  const pass = (ms = PING_INTERVAL_MS): void => {
    for (const end = state.now + ms; state.now < end; mock.timers.tick(1)) state.now++;
  };
  /** Lets time pass in which this process does not run: of its timers only one fires. */
  const sleep = (ms: number): void => {
    state.now += ms;
    mock.timers.tick(PING_INTERVAL_MS);
  };
  return { state, heartbeat, pass, sleep };
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

t.test('a peer that is silent for the timeout is reported then, with how long', (t) => {
  const { state, heartbeat, pass } = setup();
  const last = 10;
  pass(last);
  heartbeat.heard();
  pass(PING_TIMEOUT_MS - last);
  t.same(state.silences, []);
  t.same(state.pings, [1, 2, 3, 4], 'asked at the usual pace');
  pass(last - 1);
  t.same(state.silences, [], 'not a millisecond too early');
  pass(1);
  t.same(state.silences, [PING_TIMEOUT_MS]);
  pass(PING_TIMEOUT_MS);
  t.equal(state.pings.length, 4, 'it is not asked again');
  t.same(state.silences, [PING_TIMEOUT_MS]);
  t.end();
});

t.test('can ask at any moment, and measures that', (t) => {
  const { state, heartbeat, pass } = setup();
  pass(500);
  heartbeat.ask();
  t.same(state.pings, [1, 2]);
  state.now += 4;
  heartbeat.pong(2);
  t.equal(heartbeat.roundTripMs, 4);
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
  const { state, pass, sleep } = setup();
  pass();
  sleep(8 * 3600 * 1000);
  t.same(state.silences, []);
  t.equal(state.pings.length, 3, 'it is asked');
  pass(PING_TIMEOUT_MS - 1);
  t.same(state.silences, []);
  pass(1);
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
