import { checkWindows } from './check-windows.js';
import type { App } from './connection.js';
import type { Outcome } from './network.js';
import { Schedule } from './schedule.js';
import type { World } from './world.js';

/** How much is sent at once: mostly little, as requests are, and now and then more than windows and buffers hold. */
const SIZES = [1, 5, 100, 100, 3000, 20_000, 70_000];
const LARGE_BYTES = 400_000;

type Deed = (schedule: Schedule) => void;

/** What is done in a schedule, each as often as the number before it says. */
const DEEDS: readonly (readonly [number, Deed])[] = [
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

/** What is done to them: not in all schedules, so that most of what goes wrong is the product's own fault. */
const FAULTS: readonly (readonly [number, Deed])[] = [
  [3, cut],
  [1, freeze],
  [1, ({ network, world }) => network.outcomes.push(world.pick<Outcome>(['fails', 'late', 'never']))],
  [3, ({ dials, world }) => dials.push(world.pick<Outcome>(['works', 'fails', 'late', 'never']))],
  [1, (schedule) => schedule.kill(schedule.world.pick(['host', 'guest'] as const))],
  [1, stop],
  [1, jump],
];

/**
 * Plays the schedule of a seed.
 * @param trace gets each thing that happens
 * @throws Violation, or whatever the product throws
 */
export function play(seed: number, trace?: (line: string) => void): void {
  const schedule = new Schedule(seed, trace);
  const { world } = schedule;
  world.inPlace(() => {
    schedule.begin();
    if (world.chance(0.8)) schedule.settle();
    const faults = world.chance(0.5);
    for (let left = world.pick([5, 15, 30]); left > 0; left--) {
      const deeds = faults && world.chance(0.2) ? FAULTS : DEEDS;
      draw(deeds, world)(schedule);
      schedule.run(world.pick([0, 1, 3, 10]));
    }
    schedule.finish();
  });
}

function draw(deeds: readonly (readonly [number, Deed])[], world: World): Deed {
  let left = world.below(deeds.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, deed] of deeds) {
    left -= weight;
    if (left < 0) return deed;
  }
  throw new Error('nothing to do');
}

function sizeOf(world: World): number {
  return 1 + world.below(world.chance(0.03) ? LARGE_BYTES : world.pick(SIZES));
}

// ---- applications --------------------------------------------------------------------------------------

function withApp({ connections, world }: Schedule, use: (app: App, world: World) => void): void {
  if (connections.length === 0) return;
  const { client, server } = world.pick(connections);
  const app = world.chance(0.5) ? client : server;
  if (app.socket && !app.closed) world.as(world.outside, () => use(app, world));
}

function pause(app: App, world: World): void {
  if (world.chance(0.5)) app.pause();
  else app.appetite = world.below(5000);
}

function reset({ connections, world }: Schedule): void {
  if (connections.length === 0) return;
  const connection = world.pick(connections);
  const app = world.chance(0.5) ? connection.client : connection.server;
  if (!app.socket || app.closed) return;
  connection.disturbed = true;
  world.as(world.outside, () => app.reset());
}

// ---- the ends themselves -------------------------------------------------------------------------------

function openDirect(schedule: Schedule): void {
  const { world } = schedule;
  schedule.openDirect(world.pick(['host', 'guest'] as const), world.pick(['stream', 'flow'] as const));
}

function useStream(schedule: Schedule): void {
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

function useFlow(schedule: Schedule): void {
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

function settle(schedule: Schedule): void {
  schedule.settle();
  checkWindows(schedule);
  schedule.checkFlows();
}

/** Time passes, as it does while nothing happens. */
function wait(schedule: Schedule): void {
  const { world } = schedule;
  schedule.settle();
  world.advance(world.now + 60_000);
}

// ---- faults --------------------------------------------------------------------------------------------

/** The channel breaks, at any byte that is on its way. */
function cut(schedule: Schedule): void {
  const { network, world } = schedule;
  const wires = network.live();
  if (wires.length === 0) return;
  schedule.disturbAll();
  world.note('the channel is cut');
  const resets = world.chance(0.5);
  for (const socket of world.pick(wires)) socket.cut(world.below(socket.onItsWay + 1), resets);
}

/** One direction of the channel, or both, carry nothing any more, and nobody is told. */
function freeze(schedule: Schedule): void {
  const { network, world } = schedule;
  const wires = network.live();
  if (wires.length === 0) return;
  schedule.disturbAll();
  world.note('the channel freezes');
  for (const socket of world.pick(wires)) if (world.chance(0.7)) socket.frozen = true;
}

function stop(schedule: Schedule): void {
  const { world } = schedule;
  const which = world.pick(['host', 'guest'] as const);
  if (schedule[which].stopping) return;
  schedule.disturbAll();
  world.note(`the ${which} is told to stop`);
  schedule[which].stop(world.pick([0, 1000]));
}

/** All processes are held up, as by a laptop's lid. */
function jump(schedule: Schedule): void {
  const { world } = schedule;
  schedule.disturbAll();
  world.note('time jumps');
  world.jump(world.pick([50, 2000, 20_000]));
}
