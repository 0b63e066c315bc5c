import type { Machine } from './machine.js';
import type { Random } from './random.js';
import { DIRECTIONS } from './relay.js';
import { PROGRAM_NAMES, type ProgramName, type System } from './system.js';

/** The longest pause (ms) before a guest connects again: what back-off.ts has. */
const RECONNECT_MS = 1_000;

/** A channel on which something is under way is given up after so long (ms) in silence: what heartbeat.ts has. */
const SILENCE_MS = 6_000;

/** A host asks a guest that it may still have whether it is there when another one comes, and waits so long (ms). */
const NEWCOMER_MS = 1_500;

/** A stop shorter than this (ms) may cost nobody a connection; PROBE_TIMEOUT_MS in heartbeat.ts is twice as much. */
const SHORT_STOP_MS = 700;

/** A cut waits so long (ms) for its bytes, and comes then all the same. */
const CUT_PATIENCE_MS = 2_000;

/** A dockerd that answers has started its containers so long (ms) after that. */
const CONTAINER_MS = 5_000;

/** How far (s) the wall clock is moved at once. */
const MOST_MOVED_SECONDS = 30 * 86_400;

/** A fault with its numbers chosen. */
export interface Fault {
  /** What is done, with numbers. */
  readonly text: string;
  /** Whether connections may be cut by it. */
  readonly harmful: boolean;
  /** Within what time (ms) everything works again, once it can: that is when act() resolves. */
  readonly limitMs: number;
  /** @returns what is to be done, or looked at, when everything works again, if something is */
  act(system: System, machine: Machine): Promise<(() => void | Promise<void>) | undefined>;
}

type FaultMaker = (random: Random) => Fault;

/** Every kind of fault; a run goes through all of them, in its seed's order, and begins anew. */
export const FAULTS: Readonly<Record<string, FaultMaker>> = {
  'kill host': (random) => killed(['host'], random),
  'kill guest': (random) => killed(['guest'], random),
  'kill both': (random) => killed(random.shuffle(PROGRAM_NAMES), random),
  'stop host': (random) => stopped(['host'], random.between(2_000, 10_000)),
  'stop guest': (random) => stopped(['guest'], random.between(2_000, 10_000)),
  'stop one shortly': (random) => stopped([random.pick(PROGRAM_NAMES)], random.between(50, SHORT_STOP_MS)),
  sleep: (random) => ({
    ...stopped(random.shuffle(PROGRAM_NAMES), random.between(SILENCE_MS + 500, 2 * SILENCE_MS)),
    harmful: false,
  }),
  'kill destination': (random) => {
    const pauseMs = random.between(0, 1_500);
    return {
      text: `destination killed, and started ${pauseMs} ms later`,
      harmful: true,
      limitMs: RECONNECT_MS,
      act: async (system) => {
        await system.kill('destination');
        await passing(pauseMs);
        await system.start('destination');
        return undefined;
      },
    };
  },
  'stop destination': (random) => {
    const ms = random.between(200, 5_000);
    return {
      text: `destination stopped for ${ms} ms`,
      harmful: false,
      limitMs: RECONNECT_MS,
      act: async (system) => {
        system.signal('SIGSTOP', 'destination');
        await passing(ms);
        system.signal('SIGCONT', 'destination');
        return undefined;
      },
    };
  },
  'cut channel': (random) => {
    const [direction, bytes] = [random.pick(DIRECTIONS), random.between(0, 200_000)];
    return {
      text: `channel cut after ${bytes} more bytes ${direction}`,
      harmful: true,
      limitMs: RECONNECT_MS,
      act: async ({ relay }) => {
        await relay.cutAfter(direction, bytes, CUT_PATIENCE_MS);
        return undefined;
      },
    };
  },
  'freeze channel': () => ({
    text: 'channel frozen, both ways, without a word',
    harmful: true,
    limitMs: SILENCE_MS + NEWCOMER_MS + RECONNECT_MS,
    act: async ({ relay }) => relay.freeze(...DIRECTIONS),
  }),
  'freeze one way': (random) => {
    const direction = random.pick(DIRECTIONS);
    return {
      text: `channel frozen ${direction}, without a word`,
      harmful: true,
      limitMs: SILENCE_MS + NEWCOMER_MS + RECONNECT_MS,
      act: async ({ relay }) => relay.freeze(direction),
    };
  },
  'freeze shortly': (random) => {
    const [directions, ms] = [random.shuffle(DIRECTIONS), random.between(50, SHORT_STOP_MS)];
    const chosen = directions.slice(random.between(0, 1));
    return {
      text: `channel frozen ${chosen.join(' and ')} for ${ms} ms`,
      harmful: false,
      limitMs: RECONNECT_MS,
      act: async ({ relay }) => {
        const thaw = relay.freeze(...chosen);
        await passing(ms);
        thaw();
        return undefined;
      },
    };
  },
  'end one way': (random) => {
    const direction = random.pick(DIRECTIONS);
    return {
      text: `channel closed in the direction ${direction}`,
      harmful: true,
      limitMs: RECONNECT_MS + NEWCOMER_MS,
      act: async ({ relay }) => {
        relay.end(direction);
        return undefined;
      },
    };
  },
  'delay channel': (random) => {
    const [delayMs, ms] = [random.between(5, 250), random.between(1_000, 4_000)];
    return {
      text: `everything in the channel held back by ${delayMs} ms, for ${ms} ms`,
      harmful: false,
      limitMs: RECONNECT_MS,
      act: async ({ relay }) => {
        relay.delayMs = delayMs;
        await passing(ms);
        relay.delayMs = 0;
        return undefined;
      },
    };
  },
  'clock ahead': (random) => clockMoved(random.between(60, MOST_MOVED_SECONDS)),
  'clock back': (random) => clockMoved(-random.between(60, MOST_MOVED_SECONDS)),
  'stop dockerd': (random) => {
    const ms = random.between(500, 12_000);
    return {
      text: `dockerd stopped for ${ms} ms`,
      // A container that is started meanwhile waits.
      harmful: true,
      limitMs: RECONNECT_MS,
      act: async ({ engine }) => {
        engine?.signal('SIGSTOP');
        await passing(ms);
        engine?.signal('SIGCONT');
        return undefined;
      },
    };
  },
  'kill dockerd': () => ({
    text: 'dockerd killed, and started again',
    harmful: true,
    limitMs: RECONNECT_MS + CONTAINER_MS,
    act: async ({ engine }) => {
      await engine?.killDaemon();
      return undefined;
    },
  }),
  'sleep for hours': (random) => {
    const [ms, seconds] = [random.between(SILENCE_MS + 500, 9_000), random.between(3_600, 100_000)];
    const { act } = stopped(random.shuffle(PROGRAM_NAMES), ms);
    return {
      text: `host and guest stopped for ${ms} ms, after which the wall clock is ${seconds} s further on`,
      harmful: false,
      limitMs: RECONNECT_MS,
      act: async (system, machine) => {
        system.clock.move(system.clock.offsetSeconds + seconds);
        await act(system, machine);
        return () => system.untilClockSeen(machine);
      },
    };
  },
};

/** The programs see it before the fault is over, or the run fails. */
function clockMoved(seconds: number): Fault {
  return {
    text: `wall clock moved by ${seconds} s`,
    harmful: false,
    limitMs: RECONNECT_MS,
    act: async (system, machine) => {
      system.clock.move(system.clock.offsetSeconds + seconds);
      await system.untilClockSeen(machine);
      return undefined;
    },
  };
}

function killed(names: readonly ProgramName[], random: Random): Fault {
  const pauses = names.map(() => random.between(0, 1_500));
  return {
    text: `${names.join(' and ')} killed, and started ${pauses.join(' and ')} ms later`,
    harmful: true,
    limitMs: RECONNECT_MS + (names.includes('guest') ? NEWCOMER_MS : 0),
    act: async (system) => {
      await Promise.all(names.map((name) => system.kill(name)));
      await Promise.all(
        names.map(async (name, index) => {
          await passing(pauses[index] ?? 0);
          await system.start(name);
        }),
      );
      return undefined;
    },
  };
}

function stopped(names: readonly ProgramName[], ms: number): Fault {
  return {
    text: `${names.join(' and ')} stopped for ${ms} ms`,
    harmful: ms > SHORT_STOP_MS,
    limitMs: RECONNECT_MS + NEWCOMER_MS,
    act: async (system) => {
      system.signal('SIGSTOP', ...names);
      await passing(ms);
      system.signal('SIGCONT', ...names);
      return undefined;
    },
  };
}

function passing(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
