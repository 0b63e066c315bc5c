import { mock } from 'node:test';
import t from 'tap';
import {
  Heartbeat,
  type Load,
  PING_INTERVAL_MS,
  PING_TIMEOUT_MS,
  PROBE_TIMEOUT_MS,
  SLOW_PING_INTERVAL_MS,
} from '../../../protocol/channel/heartbeat.js';

/** What is to run when all events have been seen. */
const immediates: (() => void)[] = [];

t.beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout'] });
  mock.method(globalThis, 'setImmediate', (run: () => void) => void immediates.push(run));
});
t.afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

const HOURS_MS = 8 * 3600 * 1000;

/** A heartbeat with a clock and a channel of the test's; by default something is under way on that. */
function setup(load: Load = 'busy') {
  const state = {
    now: 1000,
    load,
    pings: [] as number[],
    silences: [] as number[],
    /** How often it has looked at its channel, which each timer makes it do. */
    looks: 0,
    answering: false,
    /** Whether this process gets to the end of its turn. */
    reading: true,
    use: (): void => {},
  };
  const heartbeat: Heartbeat = new Heartbeat(
    {
      ping: (token) => void state.pings.push(token),
      onSilence: (silentMs) => state.silences.push(silentMs),
      get load() {
        state.looks++;
        return state.load;
      },
      onceUsed: (used) => {
        state.use = () => {
          state.use = () => {};
          used();
        };
      },
    },
    () => state.now,
  );
  t.teardown(() => heartbeat.stop());
  /** Lets time pass, by default one interval, in which a peer that answers does so after a millisecond. */
  const pass = (ms = PING_INTERVAL_MS): void => {
    for (const end = state.now + ms; state.now < end; ) {
      const asked = state.pings.length;
      state.now++;
      mock.timers.tick(1);
      if (state.reading) for (const run of immediates.splice(0)) run();
      if (!state.answering || state.pings.length === asked) continue;
      state.now++;
      heartbeat.heard();
      heartbeat.pong(state.pings.length);
      mock.timers.tick(1);
    }
  };
  /** Lets time pass in which this process does not run: of its timers only one fires. */
  const sleep = (ms: number, timerMs: number): void => {
    state.now += ms;
    mock.timers.tick(timerMs);
  };
  return { state, heartbeat, pass, sleep };
}

/** One whose channel nothing is under way on, and which therefore rests. */
function resting(load: 'none' | 'silent') {
  const made = setup(load);
  made.heartbeat.heard();
  made.pass();
  t.same(made.state.pings, [1], 'it has asked once, and has been answered');
  return made;
}

t.test('asks at once and then at a steady pace while something is under way', (t) => {
  const { state, heartbeat, pass } = setup();
  t.same(state.pings, [1]);
  for (let count = 0; count < 3; count++) {
    heartbeat.heard();
    pass();
  }
  t.same(state.pings, [1, 2, 3, 4], 'with a new token each time');
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

t.test('what has come while this process could not run counts, though it is read late', (t) => {
  const { state, heartbeat, pass } = setup();
  state.reading = false;
  pass(PING_TIMEOUT_MS);
  heartbeat.heard();
  state.reading = true;
  pass(1);
  t.same(state.silences, []);
  t.same(state.pings, [1, 2, 3, 4]);
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
  sleep(HOURS_MS, PING_INTERVAL_MS);
  t.same(state.silences, []);
  t.equal(state.pings.length, 3, 'it is asked');
  pass(PING_TIMEOUT_MS - 1);
  t.same(state.silences, []);
  pass(1);
  t.same(state.silences, [PING_TIMEOUT_MS], 'and then found dead all the same');
  t.end();
});

t.test('without connections nothing wakes the process', (t) => {
  const { state, pass } = resting('none');
  const { looks } = state;
  pass(60_000);
  t.same(state.pings, [1]);
  t.equal(state.looks, looks);
  t.end();
});

t.test('whoever comes to a channel that rests asks, and is told soon', (t) => {
  const { state, pass } = resting('none');
  pass(60_000);
  state.load = 'silent';
  state.use();
  t.same(state.pings, [1, 2], 'at once');
  state.load = 'busy';
  state.use();
  pass(PROBE_TIMEOUT_MS - 1);
  t.same(state.silences, []);
  pass(1);
  t.same(state.silences, [PROBE_TIMEOUT_MS]);
  t.end();
});

t.test('where that is answered all goes on as ever, until nothing is under way', (t) => {
  const { state, heartbeat, pass } = resting('none');
  pass(60_000);
  state.load = 'busy';
  state.use();
  heartbeat.heard();
  pass();
  t.same(state.pings, [1, 2, 3]);
  state.answering = true;
  pass();
  state.load = 'none';
  pass(60_000);
  t.same(state.pings, [1, 2, 3, 4]);
  t.same(state.silences, []);
  t.end();
});

t.test('a peer of which something has just been heard is not asked at once', (t) => {
  const { state, heartbeat, pass } = resting('none');
  pass(60_000);
  heartbeat.heard();
  state.load = 'silent';
  state.use();
  t.same(state.pings, [1]);
  pass();
  t.same(state.pings, [1, 2], 'but before it rests again');
  heartbeat.heard();
  pass(SLOW_PING_INTERVAL_MS);
  t.same(state.pings, [1, 2]);
  t.same(state.silences, []);
  t.end();
});

for (const load of ['none', 'silent'] as const)
  t.test(`whoever wants to know whether the peer of a rested channel is there has it asked: ${load}`, (t) => {
    const { state, heartbeat, pass } = resting(load);
    pass(SLOW_PING_INTERVAL_MS / 2);
    t.equal(heartbeat.probe(), true);
    t.same(state.pings, [1, 2]);
    t.equal(heartbeat.probe(), true, 'one question is enough for two that want to know');
    t.same(state.pings, [1, 2]);
    heartbeat.heard();
    t.equal(heartbeat.probe(), false, 'now it is known');
    pass();
    const { looks } = state;
    if (load === 'none') pass(60_000);
    t.equal(state.looks, looks, 'and it rests again');
    t.same(state.silences, []);
    t.end();
  });

t.test('one that is not there is found out as soon as by a client', (t) => {
  const { state, heartbeat, pass } = resting('none');
  pass(60_000);
  t.equal(heartbeat.probe(), true);
  pass(PROBE_TIMEOUT_MS);
  t.same(state.silences, [PROBE_TIMEOUT_MS]);
  t.end();
});

t.test('so it is where the channel has not come to rest yet', (t) => {
  const { state, heartbeat, pass } = setup('none');
  heartbeat.heard();
  pass(PING_INTERVAL_MS / 2);
  t.equal(heartbeat.probe(), true);
  t.same(state.pings, [1, 2]);
  pass(PROBE_TIMEOUT_MS / 2);
  t.equal(heartbeat.probe(), true, 'who asks again and again does not put it off');
  pass(PROBE_TIMEOUT_MS / 2);
  t.same(state.silences, [PROBE_TIMEOUT_MS]);
  t.end();
});

t.test('of a busy one that has not answered yet it is asked once', (t) => {
  const { state, heartbeat, pass } = setup();
  pass(PING_INTERVAL_MS / 2);
  t.equal(heartbeat.probe(), true);
  t.same(state.pings, [1]);
  t.end();
});

t.test('between two questions of a busy channel there can be one more', (t) => {
  const { state, heartbeat, pass } = setup();
  heartbeat.heard();
  pass(PING_INTERVAL_MS / 2);
  t.equal(heartbeat.probe(), true);
  t.same(state.pings, [1, 2]);
  t.end();
});

t.test('connections that are silent are asked for now and then', (t) => {
  const { state, pass } = resting('silent');
  state.answering = true;
  pass(SLOW_PING_INTERVAL_MS);
  t.same(state.pings, [1, 2]);
  pass(PING_INTERVAL_MS + SLOW_PING_INTERVAL_MS);
  t.same(state.pings, [1, 2, 3]);
  state.answering = false;
  pass(PING_INTERVAL_MS + SLOW_PING_INTERVAL_MS + PING_TIMEOUT_MS);
  t.same(state.silences, [PING_TIMEOUT_MS], 'and a dead peer is found out');
  t.end();
});

t.test('who says something on one of them hears within the usual time that the peer is dead', (t) => {
  const { state, pass } = resting('silent');
  pass(SLOW_PING_INTERVAL_MS / 2);
  state.load = 'busy';
  state.use();
  t.same(state.pings, [1, 2]);
  pass(PING_TIMEOUT_MS - 1);
  t.same(state.silences, []);
  pass(1);
  t.same(state.silences, [PING_TIMEOUT_MS]);
  t.end();
});

t.test('when the last one has ended the next look is the last', (t) => {
  const { state, pass } = resting('silent');
  state.load = 'none';
  pass(SLOW_PING_INTERVAL_MS);
  t.same(state.pings, [1]);
  const { looks } = state;
  pass(60_000);
  t.equal(state.looks, looks);
  state.use();
  t.same(state.pings, [1, 2]);
  t.end();
});

t.test('a sleep between two looks does not count', (t) => {
  const { state, sleep, pass } = resting('silent');
  sleep(HOURS_MS, SLOW_PING_INTERVAL_MS);
  t.same(state.pings, [1, 2]);
  pass(PING_TIMEOUT_MS - 1);
  t.same(state.silences, []);
  t.end();
});

t.test('it does not rest before what was used last has been answered', (t) => {
  const { state, heartbeat, pass } = setup('silent');
  heartbeat.heard();
  state.use();
  pass();
  t.same(state.pings, [1, 2], 'asked again, after the use');
  pass();
  t.same(state.pings, [1, 2, 3], 'and again, for there was no answer');
  heartbeat.heard();
  pass();
  t.same(state.pings, [1, 2, 3]);
  t.end();
});

t.test('its own clock only goes forward', (t) => {
  const heartbeat = new Heartbeat({
    ping: () => {},
    onSilence: () => {},
    load: 'none',
    onceUsed: () => {},
  });
  t.teardown(() => heartbeat.stop());
  heartbeat.pong(1);
  t.ok((heartbeat.roundTripMs ?? -1) >= 0);
  t.end();
});
