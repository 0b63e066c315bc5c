import type { VpnkitPort } from '../../protocol/services/control.js';
import type { HostLease } from '../publish/host-lease.js';

/** What publishing needs of a lease on the host. */
export type PublishingLease = Pick<HostLease, 'publish' | 'close'>;

/** No forwards, as JSON. */
const NOTHING = '[]';

/** What of an engine's containers is published: the lease is told only of what changes. */
export class PublishedForwards {
  readonly #lease: PublishingLease;
  #forwards: readonly VpnkitPort[] = [];
  /** What the lease was told last, as JSON. */
  #told = NOTHING;

  /** @param lease closed with it */
  constructor(lease: PublishingLease) {
    this.#lease = lease;
  }

  get empty(): boolean {
    return this.#forwards.length === 0;
  }

  /** Publishes what the engine lists, and nothing else. */
  set(forwards: readonly VpnkitPort[]): void {
    this.#forwards = forwards;
    this.#tell(forwards);
  }

  /** Keeps what is published, and has the host's list say why nobody knows whether it should be. */
  doubt(why: string): void {
    this.#tell(
      this.#forwards.map((forward) => ({ ...forward, annotation: `${forward.annotation}; ${why}` })),
    );
  }

  close(): void {
    this.#lease.close();
  }

  #tell(forwards: readonly VpnkitPort[]): void {
    const text = JSON.stringify(forwards);
    if (text === this.#told) return;
    this.#told = text;
    this.#lease.publish(forwards);
  }
}
