import type { VpnkitPort } from '../../../protocol/services/control.js';
import { CHANNEL_FAULTS, type Deeds, PROCESS_FAULTS, perform } from '../world/script.js';
import type { World } from '../world/world.js';
import { SOCKETS_FOLDER } from './ends.js';
import type { BindOutcome } from './machine.js';
import { ControlSchedule } from './schedule.js';

/** So few that all want the same. */
const PORTS = [8001, 8002, 8003, 8004];

const DEEDS: Deeds<ControlSchedule> = [
  [4, (schedule) => schedule.addPublisher()],
  [8, publish],
  [
    10,
    (schedule) =>
      schedule.withPublisher('asks', (publisher) =>
        publisher.expose(forwardOf(schedule.world), schedule.hindered),
      ),
  ],
  [2, (schedule) => schedule.withPublisher('asks', (publisher) => publisher.giveUp())],
  [5, unexpose],
  [2, (schedule) => schedule.removePublisher()],
  [2, expose],
  [2, removeForUser],
  [3, take],
  [1, ({ machine }) => machine.releaseByOthers(1)],
  [2, (schedule) => schedule.settle()],
  [2, wait],
];

const FAULTS: Deeds<ControlSchedule> = [
  ...CHANNEL_FAULTS,
  ...PROCESS_FAULTS,
  [3, (schedule) => schedule.hinder(schedule.world.pick<BindOutcome>(['works', 'fails', 'late']))],
];

/**
 * Plays the control schedule of a seed.
 * @param trace gets each thing that happens
 * @throws Violation, or whatever the product throws
 */
export function playControl(seed: number, trace?: (line: string) => void): World {
  const schedule = new ControlSchedule(seed, trace);
  schedule.world.inPlace(() => {
    schedule.begin();
    schedule.addPublisher();
    perform(schedule, DEEDS, FAULTS);
    schedule.finish();
  });
  return schedule.world;
}

function publish(schedule: ControlSchedule): void {
  const { world } = schedule;
  const forwards: VpnkitPort[] = [];
  for (let left = world.below(5); left > 0; left--) {
    const forward = forwardOf(world);
    if (!forwards.some((other) => JSON.stringify(other) === JSON.stringify(forward))) forwards.push(forward);
  }
  schedule.withPublisher('lists', (publisher) => publisher.publish(forwards));
}

/** Mostly of a port that the guest chooses, and perhaps of one that is not for guests. */
function forwardOf(world: World): VpnkitPort {
  if (world.chance(0.1))
    return {
      proto: 'unix',
      out_path: world.pick([`${SOCKETS_FOLDER}/a.sock`, '/elsewhere/b.sock']),
      in_path: '/run/service.sock',
    };
  return {
    proto: 'tcp',
    ...(world.chance(0.4) && { out_ip: '127.0.0.1' }),
    out_port: world.chance(0.1) ? 0 : world.pick(PORTS),
    in_port: world.pick([80, 80, 81]),
  };
}

function unexpose(schedule: ControlSchedule): void {
  const { world } = schedule;
  schedule.withPublisher('asks', (publisher) => {
    const known = [...publisher.held, ...[...publisher.attempts].map(({ forward }) => forward)];
    if (known.length > 0) publisher.unexpose(world.pick(known));
  });
}

function expose(schedule: ControlSchedule): void {
  const { world } = schedule;
  const specs = Array.from({ length: 1 + world.below(2) }, () => {
    const port = world.chance(0.1) ? 0 : world.pick(PORTS);
    return `${world.pick(['', '*:', '127.0.0.1:'])}${port}:80`;
  });
  schedule.withUser((user, host) => user.expose(host, specs));
}

function removeForUser(schedule: ControlSchedule): void {
  const { world } = schedule;
  schedule.withUser((user, host) => user.unexpose(host, `${world.pick(PORTS)}`));
}

function take({ machine, world }: ControlSchedule): void {
  machine.takeByOther(world.pick(['0.0.0.0', '127.0.0.1', '::']), world.pick(PORTS));
}

/** Time passes, as it does while nothing happens. */
function wait(schedule: ControlSchedule): void {
  const { world } = schedule;
  schedule.settle();
  world.advance(world.now + 60_000);
}
