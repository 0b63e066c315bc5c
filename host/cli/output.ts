import type { Writable } from 'node:stream';
import type { ForwardReport } from '../records/reports.js';

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

const BYTES_PER_STEP = 1024;
const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** `17 B`, `1.5 MiB` */
export function formatBytes(bytes: number): string {
  const step = bytes < 1 ? 0 : Math.floor(Math.log(bytes) / Math.log(BYTES_PER_STEP));
  const unit = Math.min(step, BYTE_UNITS.length - 1);
  return `${(bytes / BYTES_PER_STEP ** unit).toFixed(unit === 0 ? 0 : 1)} ${BYTE_UNITS[unit]}`;
}

/** Microseconds as milliseconds with as many digits as mean something: `0.042 ms`, `12.3 ms` */
export function formatMicroseconds(microseconds: number): string {
  return `${Number((microseconds / 1000).toPrecision(3))} ms`;
}
