import type { Outcome } from '../world/network.js';
import { CHANNEL_FAULTS, type Deeds, PROCESS_FAULTS, perform } from '../world/script.js';
import type { World } from '../world/world.js';
import { checkWindows } from './check-windows.js';
import type { App } from './connection.js';
import { DataSchedule } from './schedule.js';

/** How much is sent at once: mostly little, as requests are, and now and then more than windows and buffers hold. */
const SIZES = [1, 5, 100, 100, 3000, 20_000, 70_000];
const LARGE_BYTES = 400_000;

const DEEDS: Deeds<DataSchedule> = [
  [10, (schedule) => schedule.openConnection()],
  [14, (schedule) => withApp(schedule, (app, world) => app.send(sizeOf(world)))],
  [6, (schedule) => withApp(schedule, (app) => app.end())],
  [3, (schedule) => withApp(schedule, pause)],
  [3, (schedule) => withApp(schedule, (app) => app.resume())],
  [1, reset],
  [4, openDirect],
  [12, useStream],
  [5, useFlow],
  [1, (schedule) => schedule.decideAll()],
  [1, settle],
  [1, wait],
];

const FAULTS: Deeds<DataSchedule> = [
  ...CHANNEL_FAULTS,
  [3, ({ dials, world }) => dials.push(world.pick<Outcome>(['works', 'fails', 'late', 'never']))],
  ...PROCESS_FAULTS,
];

/**
 * Plays the data schedule of a seed.
 * @param trace gets each thing that happens
 * @throws Violation, or whatever the product throws
 */
export function playData(seed: number, trace?: (line: string) => void): World {
  const schedule = new DataSchedule(seed, trace);
  schedule.world.inPlace(() => {
    schedule.begin();
    perform(schedule, DEEDS, FAULTS);
    schedule.finish();
  });
  return schedule.world;
}

function sizeOf(world: World): number {
  return 1 + world.below(world.chance(0.03) ? LARGE_BYTES : world.pick(SIZES));
}

// ---- applications --------------------------------------------------------------------------------------

function withApp({ connections, world }: DataSchedule, use: (app: App, world: World) => void): void {
  if (connections.length === 0) return;
  const { client, server } = world.pick(connections);
  const app = world.chance(0.5) ? client : server;
  if (app.socket && !app.closed) world.as(world.outside, () => use(app, world));
}

function pause(app: App, world: World): void {
  if (world.chance(0.5)) app.pause();
  else app.appetite = world.below(5000);
}

function reset({ connections, world }: DataSchedule): void {
  if (connections.length === 0) return;
  const connection = world.pick(connections);
  const app = world.chance(0.5) ? connection.client : connection.server;
  if (!app.socket || app.closed) return;
  connection.disturbed = true;
  world.as(world.outside, () => app.reset());
}

// ---- the ends themselves -------------------------------------------------------------------------------

function openDirect(schedule: DataSchedule): void {
  const { world } = schedule;
  schedule.openDirect(world.pick(['host', 'guest'] as const), world.pick(['stream', 'flow'] as const));
}

function useStream(schedule: DataSchedule): void {
  const { streams, world } = schedule;
  if (streams.length === 0) return;
  const stream = world.pick(streams);
  const opener = world.chance(0.5);
  const side = opener ? stream.opener : stream.acceptor;
  const end = schedule[opener === (stream.openedBy === 'host') ? 'host' : 'guest'];
  if (side.over) return;
  world.as(end.process, () => {
    const what = world.below(12);
    if (what < 6) side.write(sizeOf(world), world.chance(0.5) ? end.pool : undefined);
    else if (what === 6) side.shutdown();
    else if (what === 7) side.paused = true;
    else if (what < 11) {
      side.paused = false;
      side.consume();
    } else if (world.chance(0.3)) {
      stream.disturbed = true;
      side.reset();
    }
  });
}

function useFlow(schedule: DataSchedule): void {
  const { flows, world } = schedule;
  if (flows.length === 0) return;
  const flow = world.pick(flows);
  const opener = world.chance(0.5);
  const side = opener ? flow.opener : flow.acceptor;
  const end = schedule[opener === (flow.openedBy === 'host') ? 'host' : 'guest'];
  if (side.over) return;
  world.as(end.process, () => {
    for (let left = world.pick([1, 1, 1, 20]); left > 0; left--)
      side.send(world.below(world.pick([1, 100, 1400, 60_000])));
  });
}

function settle(schedule: DataSchedule): void {
  schedule.settle();
  checkWindows(schedule);
  schedule.checkFlows();
}

/** Time passes, as it does while nothing happens. */
function wait(schedule: DataSchedule): void {
  const { world } = schedule;
  schedule.settle();
  world.advance(world.now + 60_000);
}
