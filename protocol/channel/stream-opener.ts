import type { Stream, StreamHandler } from '../stream.js';
import type { Destination } from '../wire/destination.js';
import type { Source } from '../wire/extension.js';

/** Why no stream can be opened at present. */
export interface Obstacle {
  /** There is no channel, or the guest at its other end takes no more. */
  by: 'channel' | 'guest';
  /** For people, with what to do about it. */
  message: string;
}

/** What opens streams to the other end, whatever becomes of the channel that carries them. */
export interface StreamOpener {
  /** Whether open() would work now. */
  readonly takesStreams: boolean;
  /** Why it would not. */
  readonly obstacle: Obstacle;
  /**
   * Opens a stream to a destination at the other end.
   * @param source told to a peer that wants to know
   * @throws OperationError when no stream can be opened now
   * @throws RangeError or Error when the destination or the source cannot be encoded
   */
  open(destination: Destination, handler: StreamHandler, source?: Source): Stream;
}
