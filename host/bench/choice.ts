import { UsageError } from '../../protocol/errors.js';
import { bulkWorkloads } from './bulk.js';
import { parseEndpoint } from './endpoint.js';
import { latencyWorkloads } from './latency.js';
import { manyWorkloads } from './many.js';
import { rateWorkloads } from './rate.js';
import type { Rival } from './rivals/rival.js';
import { externalRival, RIVALS } from './rivals/rivals.js';
import type { Workload } from './workload.js';

/** In the order of the report. */
export const WORKLOADS: readonly Workload[] = [
  ...bulkWorkloads,
  ...latencyWorkloads,
  ...rateWorkloads,
  ...manyWorkloads,
];

/**
 * What is to be measured.
 * @param only names of workloads restrict the workloads, names of rivals the rivals; several may stand in one
 * text, with commas between them
 * @param external further rivals, as NAME=HOST:PORT
 * @throws UsageError
 */
export function choose(
  only: readonly string[],
  external: readonly string[],
): { rivals: readonly Rival[]; workloads: readonly Workload[] } {
  const rivals = [...RIVALS];
  for (const text of external) rivals.push(parseRival(text, [...WORKLOADS, ...rivals]));
  const names = only.flatMap((text) => text.split(','));
  const known = [...WORKLOADS, ...rivals].map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new UsageError(
      `--only ${unknown}: there is no such workload or rival; there are ${known.join(', ')}`,
    );
  const pick = <T extends { name: string }>(all: readonly T[]): readonly T[] => {
    const picked = all.filter(({ name }) => names.includes(name));
    return picked.length > 0 ? picked : all;
  };
  return { rivals: pick(rivals), workloads: pick(WORKLOADS) };
}

function parseRival(text: string, taken: readonly { name: string }[]): Rival {
  const [, name, endpoint] = /^(\w[\w.-]*)=(.+)$/.exec(text) ?? [];
  if (name === undefined || endpoint === undefined)
    throw new UsageError(`--rival ${text}: it must be NAME=HOST:PORT, such as desktop=127.0.0.1:5201`);
  if (taken.some((other) => other.name === name))
    throw new UsageError(`--rival ${text}: there is a workload or rival ${name} already`);
  return externalRival(name, parseEndpoint(endpoint));
}
