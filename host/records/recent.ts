/** The last ones of many things, as many as there is room for. */
export class Recent<T> {
  readonly #capacity: number;
  readonly #items: T[] = [];
  /** Where the next one goes. */
  #next = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Keeps one more; the oldest makes way for it. */
  add(item: T): void {
    this.#items[this.#next] = item;
    this.#next = (this.#next + 1) % this.#capacity;
  }

  /** The last one first. */
  list(): T[] {
    return [...this.#items.slice(this.#next), ...this.#items.slice(0, this.#next)].reverse();
  }
}
