import type { ForwardEvent, ForwardTraffic } from '../../records/event.js';
import type { ForwardReport } from '../../records/reports.js';

/** The forwards of a host. */
export class ForwardList {
  readonly #forwards = new Map<string, ForwardReport>();

  /** Takes what a host has answered. */
  reset(reports: readonly ForwardReport[]): void {
    this.#forwards.clear();
    for (const report of reports) this.#forwards.set(report.id, report);
  }

  apply({ change, forward }: Pick<ForwardEvent, 'change' | 'forward'>): void {
    if (change === 'removed') this.#forwards.delete(forward.id);
    else this.#forwards.set(forward.id, forward);
  }

  count({ id, ...counters }: ForwardTraffic): void {
    const forward = this.#forwards.get(id);
    if (forward) this.#forwards.set(id, { ...forward, counters: { ...forward.counters, ...counters } });
  }

  get(id: string): ForwardReport | undefined {
    return this.#forwards.get(id);
  }

  get size(): number {
    return this.#forwards.size;
  }

  /**
   * Those in which some text occurs, in the order in which the host lists them. Where there are more than `most`, those
   * that cannot be listened on and those that are used come first.
   */
  find(text: string, most: number): { shown: ForwardReport[]; of: number } {
    const wanted = text.trim().toLowerCase();
    const all = [...this.#forwards.values()];
    const found = wanted === '' ? all : all.filter((forward) => textOf(forward).includes(wanted));
    if (found.length <= most) return { shown: found, of: found.length };
    const ranked = found
      .map((forward) => ({ forward, rank: rankOf(forward) }))
      .sort((a, b) => b.rank - a.rank);
    return { shown: ranked.slice(0, most).map(({ forward }) => forward), of: found.length };
  }
}

/** Who wants it: `docker: container web (1a2b3c4d5e6f)`. */
export function ownerOf({ publisher, origin, annotation }: ForwardReport): string {
  return `${publisher ?? origin}${annotation === undefined ? '' : `: ${annotation}`}`;
}

/** How `GET /v1/path` and `/v1/doctor` are asked about it; undefined where they cannot be. */
export function questionOf({ proto, out_port: port, out_path: path }: ForwardReport): string | undefined {
  if (path !== undefined) return `unix:${path}`;
  if (port === undefined) return undefined;
  return proto === 'udp' ? `${port}/udp` : String(port);
}

function textOf(forward: ForwardReport): string {
  return `${forward.id} ${forward.destination} ${ownerOf(forward)} ${forward.state}`.toLowerCase();
}

function rankOf({ state, counters }: ForwardReport): number {
  if (state !== 'listening') return 3;
  if (counters.active > 0) return 2;
  return counters.connections > 0 ? 1 : 0;
}
