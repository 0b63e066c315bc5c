import type { Clients } from './clients.js';
import type { Datagrams } from './datagrams.js';
import type { SteadyPublisher } from './publishers.js';
import type { System } from './system.js';

/** How often (ms) a fresh connection is tried after a fault, without waiting for those before it. */
export const TRY_MS = 100;

/** What is tried after a fault. */
export interface Parts {
  readonly system: System;
  readonly clients: Clients;
  readonly datagrams: Datagrams;
  readonly steady: SteadyPublisher;
}

/** How long it took after one kind of fault until everything worked again. */
export interface Recovery {
  readonly times: number;
  /** In ms, what the machine was late meanwhile left out. */
  readonly p50: number;
  readonly max: number;
  /** With that. */
  readonly wholeMax: number;
  /** The most that was allowed, as it is stated. */
  readonly stated: number;
}

/**
 * Resolves when all works: fresh connections through the forward that the host has of its options, and through one that
 * was asked for in the guest, have had their answers, a datagram, too; so has a container that stays; and the
 * host answers its user.
 */
export async function untilWorks({ system, clients, datagrams, steady }: Parts): Promise<void> {
  await Promise.all([
    untilTrue(() => clients.probe()),
    untilTrue(() => clients.probe(steady.port)),
    untilTrue(async () => (await system.control.status()).channel.state === 'connected'),
    datagrams.probe(),
    system.engine?.untilWorks(),
  ]);
}

/** Tries anew again and again, whatever becomes of the tries before. */
function untilTrue(condition: () => Promise<boolean>): Promise<void> {
  return new Promise((resolve) => {
    const attempt = (): void => {
      void condition()
        .catch(() => false)
        .then((works) => {
          if (!works) return;
          clearInterval(timer);
          resolve();
        });
    };
    const timer = setInterval(attempt, TRY_MS);
    attempt();
  });
}

/** How long (ms) it took, by the kind of fault. */
export class Recoveries {
  readonly #times = new Map<string, { took: number[]; wholeMax: number; stated: number }>();

  /** @param tookMs what the machine was late left out @param wholeMs with that */
  note(kind: string, tookMs: number, wholeMs: number, statedMs: number): void {
    const entry = this.#times.get(kind) ?? { took: [], wholeMax: 0, stated: 0 };
    // So late that nothing is left.
    entry.took.push(Math.max(0, Math.round(tookMs)));
    entry.wholeMax = Math.max(entry.wholeMax, Math.round(wholeMs));
    entry.stated = Math.max(entry.stated, statedMs);
    this.#times.set(kind, entry);
  }

  get byKind(): Record<string, Recovery> {
    const entries = [...this.#times].map(([kind, { took, wholeMax, stated }]) => {
      const sorted = took.toSorted((one, other) => one - other);
      const [p50 = 0, max = 0] = [sorted[sorted.length >> 1], sorted.at(-1)];
      return [kind, { times: took.length, p50, max, wholeMax, stated }] as const;
    });
    return Object.fromEntries(entries);
  }
}
