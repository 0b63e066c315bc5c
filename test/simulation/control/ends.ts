import { HostControl } from '../../../guest/publish/host-control.js';
import { LateLeaseServer } from '../../../host/control/late-server.js';
import { LeaseServer } from '../../../host/control/lease-server.js';
import { STATIC } from '../../../host/forwards/claim.js';
import { ExposePolicy } from '../../../host/forwards/expose-policy.js';
import { ForwardTable } from '../../../host/forwards/forward-table.js';
import type { Lease } from '../../../host/forwards/lease.js';
import { Leases } from '../../../host/forwards/leases.js';
import type { ListenerDescriptors } from '../../../host/forwards/listening.js';
import { PortGuard } from '../../../host/listen/port-guard.js';
import type { findPortOwners } from '../../../host/listen/port-owner.js';
import { PortOwners } from '../../../host/listen/port-owners.js';
import type { ForwardRule } from '../../../host/rule/forward-rule.js';
import { formatRule } from '../../../host/rule/forward-rule.js';
import { CONTROL_SERVICE } from '../../../protocol/services/control.js';
import type { Stream } from '../../../protocol/stream.js';
import { End, type EndOptions, logger } from '../world/end.js';
import type { Machine } from './machine.js';
import type { Publisher } from './publisher.js';
import { SimulatedListener } from './simulated-listener.js';

/** Where guests may have sockets on the host. */
export const SOCKETS_FOLDER = '/sockets';

/** How long (ms) it takes to look who has a port, where that is slow. */
const SLOW_LOOK_MS = 40;

/** Leases that can be looked at. */
class WatchedLeases extends Leases {
  readonly live = new Set<Lease>();

  override open(): Lease | undefined {
    const lease = super.open();
    if (lease) this.live.add(lease);
    return lease;
  }

  override ended(lease: Lease): void {
    this.live.delete(lease);
    super.ended(lease);
  }
}

export interface ControlHostOptions extends EndOptions {
  machine: Machine;
  statics: readonly ForwardRule[];
  /** Of the user, from before. */
  saved: readonly ForwardRule[];
  maxForwards: number;
  /** What the user has exposed is to be kept. */
  save(kept: readonly ForwardRule[]): void;
}

/** The forwards of a host, and what gives leases of them: as host/daemon.ts puts them together. */
export class ControlHost extends End {
  readonly table: ForwardTable;
  readonly leases: WatchedLeases;
  /** Sockets that the host believes it has. */
  descriptors = 0;
  /** The static forwards are listened on, and the user's have been tried. */
  ready = false;
  readonly #server: LateLeaseServer;
  readonly #restored: Promise<void>;

  constructor(options: ControlHostOptions) {
    super('host', options, {
      onUp: () => {},
      onStream: (stream) => this.#onStream(stream),
      onDown: () => {},
    });
    const { world, machine, statics, maxForwards, save } = options;
    const find = lookAt(options);
    const fixed = new Set(statics.map(formatRule));
    this.table = new ForwardTable({
      ...{ logger, onClient: () => {}, descriptors: this.#count() },
      bindRules: { wildcardOnlyBelow: 0, sharesPorts: machine.sharesPorts },
      owners: new PortOwners(find),
      guard: new PortGuard(find),
      openListener: SimulatedListener.on(machine, this.process, (rule) => fixed.has(formatRule(rule))),
      // A file is written, by and by.
      onChange: (kept) =>
        new Promise((resolve) => {
          setImmediate(() => {
            save(kept());
            resolve();
          });
        }),
    });
    const policy = new ExposePolicy({ rules: undefined, socketsFolder: SOCKETS_FOLDER });
    this.leases = new WatchedLeases({ forwards: this.table, policy, maxForwards, logger });
    this.#server = new LateLeaseServer(this.leases, logger, async () => ({ LeaseServer }));
    let restored: Promise<void> = Promise.resolve();
    world.as(this.process, () => {
      restored = this.#start(options);
    });
    this.#restored = restored;
  }

  protected override async close(): Promise<void> {
    this.leases.close();
    this.#server.close();
    await this.table.close();
  }

  async #start({ statics, saved }: ControlHostOptions): Promise<void> {
    try {
      await this.table.expose(statics, STATIC);
      await this.table.restore(saved);
      this.ready = true;
    } catch (thrown) {
      if (!this.stopping) throw thrown;
    }
  }

  #onStream(stream: Stream): void {
    const { destination } = stream;
    if (destination.proto === 'unix' && destination.path === CONTROL_SERVICE)
      void this.#restored.then(() => this.#server.accept(stream));
    else stream.refuse('service', { code: 'EACCES', message: 'no such service' });
  }

  #count(): ListenerDescriptors {
    return {
      takeListeners: (count) => {
        this.descriptors += count;
      },
      giveListeners: (count) => {
        this.descriptors -= count;
      },
    };
  }
}

/** Who has a port, as the system tells the host: not at once. */
function lookAt({ world, machine }: ControlHostOptions): typeof findPortOwners {
  return async (addresses) => {
    await new Promise<void>((resolve) => {
      if (world.chance(0.1)) setTimeout(resolve, SLOW_LOOK_MS);
      else setImmediate(resolve);
    });
    return addresses.map(({ ip, port }) => {
      const holder = machine.holderOf(ip, port);
      return holder && !holder.process ? 'another program' : undefined;
    });
  };
}

/** What publishers in a guest ask for leases: as guest/agent.ts puts it together. */
export class ControlGuest extends End {
  readonly control: HostControl;
  publishers: Publisher[] = [];

  constructor(options: EndOptions) {
    super('guest', options, {
      onUp: (multiplexer) => this.control.onUp(multiplexer),
      onStream: (stream) => stream.refuse('service', { code: 'EACCES', message: 'no such service' }),
      onDown: () => this.control.onDown(),
    });
    this.control = new HostControl(logger);
  }

  protected override async close(): Promise<void> {
    for (const publisher of this.publishers) publisher.closed = true;
    this.control.close();
  }
}
