import type { Endpoint } from '../endpoint.js';

/** A forwarder to be measured. */
export interface Rival {
  readonly name: string;
  /** How it is set up, in a few words for the report. */
  readonly setup: string;
  /** Where it would strain the machine rather than itself to hold more. */
  readonly maxConnections?: number;
  find(): Promise<Found>;
  /**
   * Starts it, so that connections to its endpoint reach `target`.
   * @param folder an empty one, for sockets and files
   * @throws OperationError when it does not come up; nothing of it runs then
   */
  start(target: Endpoint, folder: string): Promise<RunningRival>;
}

/** A rival's version, empty where it has none to tell, or why it cannot take part. */
export type Found = { version: string } | { absent: string };

export interface RunningRival {
  endpoint: Endpoint;
  /** Its processes; their descendants count too. Empty when they are not known. */
  pids: number[];
  stop(): Promise<void>;
}
