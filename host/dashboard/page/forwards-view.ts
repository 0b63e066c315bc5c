import type { ForwardReport } from '../../records/reports.js';
import { Chart } from './chart.js';
import { byId, element, scrollByKeys, setAttribute, setChildren, setText } from './dom.js';
import { ownerOf } from './forward-list.js';
import type { Actions, Model } from './model.js';
import type { Rates } from './rates.js';
import { failuresInWords, rateInWords, ratesInWords } from './words.js';

/** Lines of the table: beyond them it is only said how many more there are. */
const MOST_ROWS = 100;

/** How many lines the arrow keys go on. */
const STEPS: Readonly<Record<string, number>> = {
  ArrowDown: 1,
  ArrowUp: -1,
  Home: Number.NEGATIVE_INFINITY,
  End: Number.POSITIVE_INFINITY,
};

/** The table of forwards. */
export class ForwardsView {
  readonly #section = byId('forwards');
  readonly #body = byId('forwards-rows');
  readonly #count = byId('forwards-count');
  readonly #more = byId('forwards-more');
  readonly #actions: Actions;
  #rows = new Map<string, ForwardRow>();
  /** The line that the tabulator key leads to. */
  #current: string | undefined;
  /** Only what can be seen is drawn. */
  readonly #sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) this.#rows.get(target.id)?.setVisible(isIntersecting);
    this.#actions.changed();
  });

  constructor(model: Model, actions: Actions) {
    scrollByKeys('forwards-scroll', 'Table of forwards');
    this.#actions = actions;
    const filter = byId<HTMLInputElement>('forwards-filter');
    filter.addEventListener('input', () => {
      model.search = filter.value;
      actions.changed();
    });
    this.#body.addEventListener('keydown', (event) => this.#onKey(event));
    this.#body.addEventListener('focusin', ({ target }) => {
      this.#current = (target as Element).closest('tr')?.id;
      actions.changed();
    });
  }

  draw({ forwards, rates, selected, search, host }: Model): void {
    this.#section.hidden = !host;
    const { shown, of } = forwards.find(search, MOST_ROWS);
    setText(this.#count, search === '' ? `${forwards.size}` : `${of} of ${forwards.size}`);
    const left = of - shown.length;
    setText(this.#more, left > 0 ? `… and ${left} more: find them by port, container or state` : '');
    const rows = new Map(
      shown.map((forward) => [forward.id, this.#rows.get(forward.id) ?? this.#make(forward.id)]),
    );
    for (const [id, row] of this.#rows) if (!rows.has(id)) this.#drop(row);
    this.#rows = rows;
    const current = rows.has(this.#current ?? '') ? this.#current : shown[0]?.id;
    for (const forward of shown)
      rows.get(forward.id)?.draw(forward, rates, forward.id === selected, forward.id === current);
    setChildren(
      this.#body,
      [...rows.values()].map((row) => row.element),
    );
  }

  focus(id: string): void {
    this.#rows.get(id)?.button.focus();
  }

  /** Colours have changed. */
  redrawCharts(): void {
    for (const row of this.#rows.values()) row.chart.remove();
  }

  #make(id: string): ForwardRow {
    const row = new ForwardRow(id, () => this.#actions.select(id));
    this.#sight.observe(row.element);
    return row;
  }

  #drop(row: ForwardRow): void {
    this.#sight.unobserve(row.element);
    row.chart.remove();
  }

  #onKey(event: KeyboardEvent): void {
    const step = STEPS[event.key];
    const row = (event.target as Element).closest('tr');
    if (step === undefined || !row) return;
    event.preventDefault();
    const rows = [...this.#body.children];
    const at = Math.min(Math.max(rows.indexOf(row) + step, 0), rows.length - 1);
    rows[at]?.querySelector('button')?.focus();
  }
}

/** One forward. */
class ForwardRow {
  readonly element: HTMLTableRowElement;
  readonly button: HTMLButtonElement;
  readonly chart = new Chart(element('div', { class: 'sparkline', role: 'img' }), false);
  readonly #leadsTo = element('span', { class: 'small' });
  readonly #state = element('td');
  readonly #active = element('td', { class: 'number' });
  readonly #total = element('td', { class: 'number' });
  readonly #failures = element('td');
  readonly #toGuest = element('td', { class: 'number' });
  readonly #toHost = element('td', { class: 'number' });
  #visible = false;

  constructor(id: string, onSelect: () => void) {
    this.button = element('button', { type: 'button', 'aria-controls': 'detail' }, id);
    this.button.addEventListener('click', onSelect);
    this.element = element(
      'tr',
      { id },
      element('th', { scope: 'row' }, this.button, this.#leadsTo),
      ...[this.#state, this.#active, this.#total, this.#failures, this.#toGuest, this.#toHost],
      element('td', {}, this.chart.element),
    );
  }

  setVisible(visible: boolean): void {
    this.#visible = visible;
    if (!visible) this.chart.remove();
  }

  draw(forward: ForwardReport, rates: Rates, selected: boolean, current: boolean): void {
    const { id, destination, state, error, limitation, counters } = forward;
    const rate = rates.of(id);
    setText(this.#leadsTo, `→ ${destination}, ${ownerOf(forward)}`);
    const why = error ?? limitation;
    setText(this.#state, why === undefined ? state : `${state}: ${why}`);
    this.#state.className = state === 'listening' ? 'good' : 'bad';
    setText(this.#active, String(counters.active));
    setText(this.#total, String(counters.connections));
    setText(this.#failures, failuresInWords(forward));
    this.#failures.className = counters.failed + counters.refused > 0 ? 'bad' : '';
    setText(this.#toGuest, rateInWords(rate.toGuest));
    setText(this.#toHost, rateInWords(rate.toHost));
    setAttribute(this.chart.element, 'aria-label', ratesInWords(rate));
    setAttribute(this.button, 'aria-expanded', String(selected));
    setAttribute(this.button, 'tabindex', current ? '0' : '-1');
    this.element.className = selected ? 'chosen' : '';
    if (this.#visible) this.chart.draw(rates.history(id));
  }
}
