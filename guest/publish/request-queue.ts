import type { Deadline } from '../../protocol/deadline.js';

/** Lets one thing be done after the other. */
export class RequestQueue {
  /** Whoever comes next waits for this. */
  #last: Promise<unknown> = Promise.resolve();

  take<T>(action: () => Promise<T>): Promise<T> {
    const outcome = this.#last.then(action);
    this.#last = outcome.catch(() => undefined);
    return outcome;
  }

  /**
   * @param deadline until when its turn must have come; it is not done after that
   * @param late makes the error that it fails with then, at once
   */
  takeBy<T>(deadline: Deadline, action: () => Promise<T>, late: () => Error): Promise<T> {
    return new Promise((resolve, reject) => {
      const refuse = (): void => reject(late());
      deadline.signal.addEventListener('abort', refuse);
      void this.take(async () => {
        deadline.signal.removeEventListener('abort', refuse);
        if (deadline.over) refuse();
        else await action().then(resolve, reject);
      });
    });
  }
}
