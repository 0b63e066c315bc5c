import { existsSync, readFileSync } from 'node:fs';

/** What was kept of a target: `corpus`, what reaches its code; `found`, on what it has failed once. */
export function readInputs(kind: 'corpus' | 'found', name: string): Buffer[] {
  const path = new URL(`./${kind}/${name}.txt`, import.meta.url);
  if (!existsSync(path)) return [];
  // Each line is an input, as a JSON string in which each character is one byte.
  const lines = readFileSync(path, 'latin1').split('\n').filter(Boolean);
  return lines.map((line) => Buffer.from(JSON.parse(line) as string, 'latin1'));
}
