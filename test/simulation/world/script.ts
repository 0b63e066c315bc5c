import type { Outcome } from './network.js';
import type { Schedule } from './schedule.js';
import type { World } from './world.js';

/** What is done in schedules of a kind, each as often as the number before it says. */
export type Deeds<S> = readonly (readonly [weight: number, deed: (schedule: S) => void])[];

/** What can be done to the channel, whatever the two ends do. */
export const CHANNEL_FAULTS: Deeds<Schedule> = [
  [3, cut],
  [1, freeze],
  [1, ({ network, world }) => network.outcomes.push(world.pick<Outcome>(['fails', 'late', 'never']))],
];

/** What can be done to the two ends. */
export const PROCESS_FAULTS: Deeds<Schedule> = [
  [1, (schedule) => schedule.kill(schedule.world.pick(['host', 'guest'] as const))],
  [1, stop],
  [1, jump],
];

/** Does some deeds, with some steps after each. In half of the schedules there are no faults. */
export function perform<S extends Schedule>(schedule: S, deeds: Deeds<S>, faults: Deeds<S>): void {
  const { world } = schedule;
  if (world.chance(0.8)) schedule.settle();
  const faulty = world.chance(0.5);
  for (let left = world.pick([5, 15, 30]); left > 0; left--) {
    draw(faulty && world.chance(0.2) ? faults : deeds, world)(schedule);
    schedule.run(world.pick([0, 1, 3, 10]));
  }
}

function draw<S>(deeds: Deeds<S>, world: World): (schedule: S) => void {
  let left = world.below(deeds.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, deed] of deeds) {
    left -= weight;
    if (left < 0) return deed;
  }
  throw new Error('nothing to do');
}

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
