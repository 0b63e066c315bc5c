import type { StreamEnd } from '../../../protocol/stream.js';
import { Violation, type World } from '../world/world.js';
import { Pattern } from './pattern.js';

/** One end of something that host and guest open to each other: what it has sent, and what has come. */
export abstract class Side<Other extends Side<Other>> {
  readonly name: string;
  /** What this end sends. */
  readonly pattern: Pattern;
  other: Other | undefined;
  sent = 0;
  received = 0;
  gaveUp = false;
  end: StreamEnd | undefined;
  /** The process that it was in is gone. */
  dead = false;
  protected readonly world: World;

  /** @param key tells what it sends from what others send */
  constructor(world: World, name: string, key: number) {
    this.world = world;
    this.name = name;
    this.pattern = new Pattern(key);
  }

  protected abstract get opened(): boolean;

  /** Whether nothing more may happen to it. */
  get over(): boolean {
    return this.dead || this.end !== undefined || this.gaveUp || !this.opened;
  }

  /** @throws Violation when it is told of something, and is over */
  protected checkAlive(what: string): void {
    if (this.over && this.opened) throw new Violation(`${this.name} is told of ${what} after its end`);
  }
}
