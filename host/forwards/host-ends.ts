import { type ForwardRule, hostEndKey } from '../rule/forward-rule.js';

/** Things that have a rule, found by the port or path of the host that it is about, however many there are. */
export class HostEnds<T> {
  readonly #byEnd = new Map<string, Set<T>>();
  readonly #ends = new Map<T, string>();

  /** Adds a thing, or moves it to another end. */
  set(thing: T, rule: ForwardRule): void {
    const end = endOf(rule);
    if (this.#ends.get(thing) === end) return;
    this.#removeFromEnd(thing);
    this.#ends.set(thing, end);
    const others = this.#byEnd.get(end);
    if (others) others.add(thing);
    else this.#byEnd.set(end, new Set([thing]));
  }

  delete(thing: T): void {
    this.#removeFromEnd(thing);
    this.#ends.delete(thing);
  }

  has(thing: T): boolean {
    return this.#ends.has(thing);
  }

  /** Those of one end, as hostEndKey writes it. */
  at(end: string): Iterable<T> {
    return this.#byEnd.get(end) ?? [];
  }

  /** Those of the same end as `rule`. */
  near(rule: ForwardRule): Iterable<T> {
    return this.at(endOf(rule));
  }

  /** All, in the order in which they came. */
  values(): Iterable<T> {
    return this.#ends.keys();
  }

  #removeFromEnd(thing: T): void {
    const end = this.#ends.get(thing) ?? '';
    const others = this.#byEnd.get(end);
    others?.delete(thing);
    if (others?.size === 0) this.#byEnd.delete(end);
  }
}

function endOf(rule: ForwardRule): string {
  return hostEndKey(rule.proto, rule.proto === 'unix' ? rule.hostPath : rule.hostPort);
}
