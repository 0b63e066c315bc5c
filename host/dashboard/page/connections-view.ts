import { formatBytes } from '../../../protocol/byte-size.js';
import { isFailure, type ShownConnection } from './connection-list.js';
import { byId, element, scrollByKeys, setChildren, setText } from './dom.js';
import type { Actions, Model } from './model.js';
import { clock, outcomeInWords, spanInWords } from './words.js';

/** Lines of the table: of older ones it is only said how many there are. */
const MOST_ROWS = 200;

/** The table of connections, open and ended, the last news first. */
export class ConnectionsView {
  readonly #section = byId('connections');
  readonly #body = byId('connections-rows');
  readonly #count = byId('connections-count');
  readonly #more = byId('connections-more');
  #rows = new Map<number, ConnectionRow>();

  constructor(model: Model, actions: Actions) {
    scrollByKeys('connections-scroll', 'Table of connections');
    const failuresOnly = byId<HTMLInputElement>('failures-only');
    const selectedOnly = byId<HTMLInputElement>('selected-only');
    for (const box of [failuresOnly, selectedOnly])
      box.addEventListener('change', () => {
        model.failuresOnly = failuresOnly.checked;
        model.selectedOnly = selectedOnly.checked;
        actions.changed();
      });
  }

  draw(model: Model, now: number): void {
    const { connections, failuresOnly, selectedOnly, selected, host } = model;
    this.#section.hidden = !host;
    const forward = selectedOnly ? selected : undefined;
    const { shown, of } = connections.newest({ forward, failuresOnly }, MOST_ROWS);
    setText(this.#count, `${connections.openCount} open`);
    setText(this.#more, moreInWords(of - shown.length, of));
    this.#rows = new Map(
      shown.map(({ report }) => [report.id, this.#rows.get(report.id) ?? new ConnectionRow()]),
    );
    for (const connection of shown) this.#rows.get(connection.report.id)?.draw(connection, now);
    setChildren(
      this.#body,
      [...this.#rows.values()].map((row) => row.element),
    );
  }
}

function moreInWords(left: number, of: number): string {
  if (left > 0) return `… and ${left} older ones`;
  return of === 0 ? 'none yet' : '';
}

/** One connection. */
class ConnectionRow {
  readonly element: HTMLTableRowElement;
  readonly #cells: HTMLElement[];
  #drawn: ShownConnection | undefined;

  constructor() {
    const classes = ['nowrap', 'nowrap', 'nowrap', 'number', 'number', 'number', '', ''];
    this.#cells = classes.map((name) => element('td', name === '' ? {} : { class: name }));
    this.element = element('tr', {}, ...this.#cells);
  }

  draw(connection: ShownConnection, now: number): void {
    const { report } = connection;
    // What has ended stays as it is.
    if (connection === this.#drawn && report.ending) return;
    this.#drawn = connection;
    const openedAt = Date.parse(report.openedAt);
    const texts = [
      clock(openedAt),
      report.forward,
      report.client ?? '–',
      spanInWords(report.ending ? report.ageMs : Math.max(0, now - openedAt)),
      formatBytes(report.bytesToGuest),
      formatBytes(report.bytesToHost),
      report.ending?.termination ?? '',
      outcomeInWords(report),
    ];
    for (const [index, cell] of this.#cells.entries()) setText(cell, texts[index] ?? '');
    this.element.className = isFailure(report) ? 'bad' : '';
  }
}
