import type { DestinationStream } from 'pino';

/** Lines that are kept, for reports of problems: what has led to one is mostly among them. */
const KEPT_LINES = 300;

/** What they may have (characters) in all, and each of them: a stack has a few thousand. */
const KEPT_CHARACTERS = 128 * 1024;
const LINE_CHARACTERS = 4 * 1024;

/** Where log lines go, and the last of those that went there. */
export class LogTail implements DestinationStream {
  readonly #destination: DestinationStream & { flushSync?(): void };
  readonly #lines: string[] = [];
  #characters = 0;

  /** @param destination gets every line */
  constructor(destination: DestinationStream) {
    this.#destination = destination;
  }

  write(line: string): void {
    this.#destination.write(line);
    const kept = line.slice(0, LINE_CHARACTERS).trimEnd();
    this.#lines.push(kept);
    this.#characters += kept.length;
    while (this.#lines.length > KEPT_LINES || this.#characters > KEPT_CHARACTERS)
      this.#characters -= String(this.#lines.shift()).length;
  }

  /** Pino asks for it before a program ends by a fault. */
  flushSync(): void {
    this.#destination.flushSync?.();
  }

  /** The last one last, as they were written; a long one is cut off. */
  lines(): string[] {
    return [...this.#lines];
  }
}
