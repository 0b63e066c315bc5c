import type { Writable } from 'node:stream';
import type { ForwardReport } from '../records/reports.js';

export { formatBytes } from '../../protocol/byte-size.js';
export { formatDuration } from '../../protocol/duration.js';

/** Writes the one document that --json puts on stdout. */
export function writeJson(stdout: Writable, value: unknown): void {
  stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** Columns as wide as their widest cell, two spaces between them. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const count = rows.reduce((most, row) => Math.max(most, row.length), 0);
  const columns = Array.from({ length: count }, (_, column) => {
    const cells = rows.map((row) => row[column] ?? '');
    const width = cells.reduce((most, cell) => Math.max(most, cell.length), 0);
    return cells.map((cell) => cell.padEnd(width));
  });
  const lines = rows.map((_, index) => columns.map((column) => column[index]).join('  '));
  return lines.map((line) => `${line.trimEnd()}\n`).join('');
}

/** `tcp localhost:8080 → tcp 127.0.0.1:80` */
export function formatForward({ id, destination }: Pick<ForwardReport, 'id' | 'destination'>): string {
  return `${id} → ${destination}`;
}

/** Microseconds as milliseconds with as many digits as mean something: `0.042 ms`, `12.3 ms` */
export function formatMicroseconds(microseconds: number): string {
  return `${Number((microseconds / 1000).toPrecision(3))} ms`;
}
