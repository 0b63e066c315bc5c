import { ChannelKeeper, type KeeperOwner } from '../../../protocol/channel/channel-keeper.js';
import { createLogger } from '../../../protocol/program/logger.js';
import { type Slab, SlabPool } from '../../../protocol/slab.js';
import type { ChannelMode } from '../../../protocol/transport/channel-address.js';
import type { Feature } from '../../../protocol/wire/handshake.js';
import { ADDRESS, type Network } from './network.js';
import type { Process, World } from './world.js';

export const logger = createLogger('silent', { write: () => {} });

export const STOPPED = { code: 'STOPPED', message: 'told to stop' };

export interface EndOptions {
  world: World;
  network: Network;
  mode: ChannelMode;
  features: readonly Feature[];
}

/** Of a slab, so much: most of what is sent fits in. */
const OVERWRITTEN_BYTES = 64 * 1024;

/** Overwrites what nobody holds any more: whoever sends it all the same sends wrong bytes. */
class OverwritingPool extends SlabPool {
  override release(slab: Slab): void {
    super.release(slab);
    if (slab.holds === 0) slab.bytes.subarray(0, OVERWRITTEN_BYTES).fill(0xdb);
  }
}

/** Of ends that have stopped with nothing held: new memory for each schedule would cost most of the time. */
const sparePools: SlabPool[] = [];

/** What host and guest have in every kind of schedule: a process, and the keeper of its channel. */
export abstract class End {
  readonly process: Process;
  readonly pool: SlabPool = sparePools.pop() ?? new OverwritingPool();
  readonly keeper: ChannelKeeper;
  protected readonly world: World;
  /** It has been told to stop. */
  stopping = false;
  stopped = false;

  constructor(name: string, { world, network, mode, features }: EndOptions, owner: KeeperOwner) {
    this.world = world;
    this.process = world.start(name);
    this.keeper = new ChannelKeeper({
      ...{ mode, address: ADDRESS, version: 'simulated', pool: this.pool, logger, features, owner },
      transport: network.of(this.process),
    });
    world.as(this.process, () => void this.keeper.start());
  }

  /** Ends in good order, by and by. */
  stop(graceMs: number): void {
    this.stopping = true;
    this.world.as(this.process, () => {
      void this.close()
        .then(() => this.keeper.stop(STOPPED, graceMs))
        .then(() => {
          this.abort();
          this.stopped = true;
        });
    });
  }

  /** The end has stopped, and holds nothing: its memory may serve another one. */
  recycle(): void {
    if (this.pool.out === 0) sparePools.push(this.pool);
  }

  /** What is given up before the channel is, when it is told to stop. */
  protected async close(): Promise<void> {}

  /** What is given up after the channel. */
  protected abort(): void {}
}
