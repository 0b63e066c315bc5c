import type { VpnkitPort } from '../../protocol/services/control.js';

/**
 * What one publisher in the guest has on the host: forwards that live as long as the lease. While there is
 * no channel they are remembered, and asked for again when there is one.
 */
export interface Lease {
  /**
   * Makes the lease's forwards those given, with as few requests as it takes. One that the host cannot bind
   * stays wanted, and the host tries again; what became of it is logged.
   */
  publish(forwards: readonly VpnkitPort[]): void;
  /**
   * Adds one forward and waits until the host listens for it; it is not wanted any more when that fails.
   * @param wanted aborted when nobody waits for it any more: it is given up then
   * @returns it, with the port that was chosen where none was given
   * @throws OperationError with the host's reason, or when there is no channel
   */
  expose(forward: VpnkitPort, wanted?: AbortSignal): Promise<VpnkitPort>;
  /** Removes one forward, and resolves when the host's port is free. */
  unexpose(forward: VpnkitPort): Promise<void>;
  /** Gives up the lease, and its forwards with it. */
  close(): void;
}

/** Where a publisher gets its lease; `publisher` says to people who it is: `docker`, say. */
export type OpenLease = (publisher: string) => Lease;
