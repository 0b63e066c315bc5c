import { type Handles, handles } from './handles.js';
import { DEFAULT_KEEP_ALIVE_SECONDS } from './keep-alive.js';

/** What all new sockets of this process are made with, unless their maker says otherwise. */
export interface SocketSettings {
  /** Null: sockets are node:net's. */
  internals: Handles | null;
  /** Seconds of silence after which the kernel asks whether a TCP peer is there; 0: never. */
  keepAliveSeconds: number;
}

/** Changed by startSockets() alone, once the self-test has shown what works. */
export const settings: SocketSettings = {
  internals: handles,
  keepAliveSeconds: DEFAULT_KEEP_ALIVE_SECONDS,
};
