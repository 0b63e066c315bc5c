import { SocketWatch } from './socket-watch.js';

/** The pauses (ms) between attempts to reach an engine: the first, and the last before it is only watched for. */
const BACKOFF_MS = [100, 2_000] as const;

/** The longest pause (ms) between attempts to ask an engine that is there, and does not answer as it should. */
const LONGEST_PAUSE_MS = 60_000;

/**
 * When to try again to reach an engine. One that has gone is tried a few times, each after a longer pause, and then
 * again when something happens to its socket: nothing wakes the process until then.
 */
export class Retries {
  readonly #socket: string;
  readonly #backoff: readonly [first: number, last: number];
  readonly #onUnwatched: (problem: string) => void;
  readonly #watchSocket: (path: string) => SocketWatch;
  #pauseMs: number;
  /** Kept while the engine is away. */
  #watch: SocketWatch | undefined;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;
  #endPause = (): void => {};

  /** @param onUnwatched told why its socket's folder cannot be watched, each time that it is tried */
  constructor(
    socket: string,
    backoff: readonly [first: number, last: number] = BACKOFF_MS,
    onUnwatched: (problem: string) => void,
    watchSocket = (path: string) => new SocketWatch(path),
  ) {
    this.#socket = socket;
    this.#backoff = backoff;
    this.#onUnwatched = onUnwatched;
    this.#watchSocket = watchSocket;
    [this.#pauseMs] = backoff;
  }

  /**
   * An attempt has failed: resolves when it is time for the next one, and when retrying has ended.
   * @param gone whether nobody is at the socket
   */
  async pause(gone: boolean): Promise<void> {
    const [firstMs, lastMs] = this.#backoff;
    if (!gone) this.#endWatch();
    else if (this.#watch && this.#pauseMs > lastMs) {
      await this.#watch.touched;
      this.#endWatch();
      this.#pauseMs = firstMs;
    }
    if (this.#ended) return;
    // Before the attempts that follow: what happens after the last of them is noticed.
    if (gone) this.#watch ??= this.#startWatch();
    await new Promise<void>((resolve) => {
      this.#endPause = resolve;
      this.#timer = setTimeout(resolve, this.#pauseMs);
    });
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
  }

  /** The engine is there. */
  succeeded(): void {
    this.#endWatch();
    [this.#pauseMs] = this.#backoff;
  }

  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#endPause();
    this.#endWatch();
  }

  #startWatch(): SocketWatch {
    const watch = this.#watchSocket(this.#socket);
    if (watch.problem !== undefined) this.#onUnwatched(watch.problem);
    return watch;
  }

  #endWatch(): void {
    this.#watch?.close();
    this.#watch = undefined;
  }
}
