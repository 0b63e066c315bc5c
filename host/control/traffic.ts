import type { Forward } from '../forwards/forward.js';
import type { ForwardTraffic } from '../records/event.js';

/** Tells which forwards have carried something since it was asked last. */
export class Traffic {
  readonly #known = new WeakMap<Forward, ForwardTraffic>();

  /** Looks at forwards whose counters are up to date. @returns those that have changed */
  look(forwards: readonly Forward[]): ForwardTraffic[] {
    return forwards.flatMap((forward) => {
      const now = trafficOf(forward);
      const before = this.#known.get(forward);
      this.#known.set(forward, now);
      return isSame(now, before) ? [] : [now];
    });
  }
}

function trafficOf({ id, counters }: Forward): ForwardTraffic {
  const { active, bytesToGuest, bytesToHost, connections, refused, failed } = counters;
  return { id, active, bytesToGuest, bytesToHost, connections, refused, failed };
}

/** A new one has changed when somebody has used it. */
function isSame(now: ForwardTraffic, before: ForwardTraffic | undefined): boolean {
  if (!before) return now.connections === 0;
  const keys = Object.keys(now) as (keyof ForwardTraffic)[];
  return keys.every((key) => now[key] === before[key]);
}
