/** First in, first out: what is taken costs the same however much waits. */
export class Fifo<T> {
  #items: T[] = [];
  /** How many of these have been taken. */
  #taken = 0;

  get length(): number {
    return this.#items.length - this.#taken;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes the one that has waited longest; undefined when there is none. */
  shift(): T | undefined {
    if (this.length === 0) return undefined;
    const item = this.#items[this.#taken++];
    // Those that were taken are let go of when they are half of all: one by one, each would move all the others.
    if (2 * this.#taken >= this.#items.length) {
      this.#items = this.#items.slice(this.#taken);
      this.#taken = 0;
    }
    return item;
  }
}
