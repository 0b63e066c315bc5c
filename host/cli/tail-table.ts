import type { ConnectionEvent } from '../records/event.js';
import { formatBytes, formatMicroseconds } from './output.js';

const HEADER = ['TIME', 'FORWARD', 'CLIENT', 'DESTINATION', 'TO GUEST', 'TO HOST', 'TOOK', 'END'];

/** How wide (characters) the columns are at first: what most lines need. */
const WIDTHS = [12, 18, 15, 18, 9, 9, 8, 3];

/** From one second on (µs) a time is told in seconds. */
const SECOND_MICROS = 1_000_000;

/** What stands in the place of an end for a connection that has begun. */
const OPENED = '>>';

/** A table for people that grows by a line at a time: a column gets wider when that is needed, and stays so. */
export class TailTable {
  readonly #widths = [...WIDTHS];

  get header(): string {
    return this.#format([...HEADER, 'HOW']);
  }

  line({ time, connection }: ConnectionEvent): string {
    const { forward, client = '-', destination, bytesToGuest, bytesToHost, ageMs, ending } = connection;
    return this.#format([
      localTime(new Date(time)),
      forward,
      client,
      destination,
      ...(ending
        ? [formatBytes(bytesToGuest), formatBytes(bytesToHost), formatTime(ageMs * 1000)]
        : ['', '', '']),
      ending?.termination ?? OPENED,
      ending?.message ?? 'a client has come',
    ]);
  }

  #format(cells: readonly string[]): string {
    const padded = cells.map((cell, column) => {
      const width = this.#widths[column];
      if (width === undefined) return cell;
      this.#widths[column] = Math.max(width, cell.length);
      return cell.padEnd(Math.max(width, cell.length));
    });
    return `${padded.join('  ')}\n`;
  }
}

/** `14:03:09.120` where the person is. */
function localTime(time: Date): string {
  const two = (number: number): string => String(number).padStart(2, '0');
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(':');
  return `${clock}.${String(time.getMilliseconds()).padStart(3, '0')}`;
}

function formatTime(micros: number): string {
  return micros < SECOND_MICROS ? formatMicroseconds(micros) : `${(micros / SECOND_MICROS).toFixed(1)} s`;
}
