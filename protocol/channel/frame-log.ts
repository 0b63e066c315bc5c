import type { FrameObserver, FrameReport } from '../frame-ring.js';
import type { Logger } from '../program/logger.js';

/**
 * Logs a line for each frame: what it is, and none of what it carries. Only at level trace, which nobody has by himself;
 * who asks for it wants all of them, so nothing is left out.
 */
export class FrameLog implements FrameObserver {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get wantsFrames(): boolean {
    return this.#logger.isLevelEnabled('trace');
  }

  onFrame({ direction, type, stream: streamId, bytes, allowed }: FrameReport): void {
    const more =
      (bytes === undefined ? '' : `, ${bytes} bytes`) +
      (allowed === undefined ? '' : `, ${allowed} bytes allowed since it was opened`);
    this.#logger.trace(
      { streamId, frame: { direction, type, bytes, allowed } },
      `${direction} ${type}${more}`,
    );
  }
}
