import type { DoctorReport, JudgedHop } from '../../diagnose/diagnosis.js';
import { hopsOf } from '../../diagnose/hops.js';
import type { PathReport } from '../../diagnose/path.js';
import type { ForwardReport } from '../../records/reports.js';
import { Chart } from './chart.js';
import { byId, element, setAttribute, setText } from './dom.js';
import type { Feed } from './feed.js';
import { questionOf } from './forward-list.js';
import type { Actions, Model } from './model.js';
import { ratesInWords } from './words.js';

/** The forward that is looked at: what doctor says of it, its way, and what it carries. */
export class DetailView {
  readonly #section = byId('detail');
  readonly #title = byId('detail-title');
  readonly #verdict = byId('verdict');
  readonly #hops = byId('hops');
  readonly #remarks = byId('remarks');
  readonly #failures = byId('failures');
  readonly #chart = new Chart(byId('chart'), true);
  readonly #feed: Pick<Feed, 'get'>;
  /** Ends what is being asked. */
  #asking = new AbortController();

  constructor(model: Model, actions: Actions, feed: Pick<Feed, 'get'>) {
    this.#feed = feed;
    byId('detail-close').addEventListener('click', () => actions.select(undefined));
    byId('detail-again').addEventListener('click', () => this.show(model.forwards.get(model.selected ?? '')));
  }

  draw({ selected, forwards, rates }: Model): void {
    this.#section.hidden = selected === undefined;
    if (selected === undefined) return;
    const forward = forwards.get(selected);
    setText(
      this.#title,
      forward ? `${selected} → ${forward.destination}` : `${selected} is not there any more`,
    );
    this.#chart.draw(rates.history(selected));
    setAttribute(this.#chart.element, 'aria-label', `Now ${ratesInWords(rates.of(selected))}`);
  }

  redrawChart(): void {
    this.#chart.remove();
  }

  /** Looks along the way of a forward, and judges it; what was being looked at before is given up. */
  show(forward: ForwardReport | undefined): void {
    this.#asking.abort();
    this.#asking = new AbortController();
    for (const part of [this.#verdict, this.#hops, this.#remarks, this.#failures]) part.replaceChildren();
    const question = forward && questionOf(forward);
    if (!forward || question === undefined) return;
    this.#say('looking …');
    this.#section.ariaBusy = 'true';
    void this.#look(forward.id, encodeURIComponent(question), this.#asking.signal);
  }

  async #look(id: string, of: string, signal: AbortSignal): Promise<void> {
    try {
      const [path, forwards] = await Promise.all([
        this.#feed.get<PathReport>(`/v1/path?of=${of}`, signal),
        this.#feed.get<ForwardReport[]>('/v1/forwards', signal),
      ]);
      this.#showHops(hopsOf(path));
      this.#showFailures(forwards.find((forward) => forward.id === id));
      this.#say('trying a connection …');
      const report = await this.#feed.get<DoctorReport>(`/v1/doctor?of=${of}`, signal);
      this.#showHops(report.hops);
      this.#showVerdict(report);
    } catch (thrown) {
      if (signal.aborted) return;
      this.#say(`cannot look: ${thrown instanceof Error ? thrown.message : thrown}`, 'bad');
    }
    this.#section.ariaBusy = 'false';
  }

  #showVerdict({ asked, complaint, remarks }: DoctorReport): void {
    if (complaint)
      this.#verdict.replaceChildren(
        element('p', { class: 'bad' }, `${complaint.problem}.`),
        element('p', {}, `What to do: ${complaint.advice}.`),
      );
    else this.#say(`${asked} works, as far as can be seen.`, 'good');
    this.#remarks.replaceChildren(...remarks.map((remark) => element('li', {}, `${remark}.`)));
  }

  #say(text: string, kind = ''): void {
    this.#verdict.replaceChildren(element('p', kind === '' ? {} : { class: kind }, text));
  }

  #showHops(hops: readonly JudgedHop[]): void {
    this.#hops.replaceChildren(
      ...hops.map((hop) => {
        const { sign, words, kind } = markOf(hop);
        return element(
          'li',
          { class: kind },
          element('span', { 'aria-hidden': 'true' }, sign),
          element(
            'span',
            { class: 'hop-name' },
            hop.name,
            element('span', { class: 'unseen' }, ` ${words}: `),
          ),
          element('span', {}, hop.text),
        );
      }),
    );
  }

  #showFailures(forward: ForwardReport | undefined): void {
    const causes = forward?.failures ?? [];
    this.#failures.replaceChildren(
      ...causes.map(({ cause, count, lastMessage }) =>
        element('li', {}, `${count} × ${cause}: ${lastMessage}`),
      ),
    );
  }
}

function markOf({ ok, seen }: JudgedHop): { sign: string; words: string; kind: string } {
  if (ok === true) return { sign: '✓', words: 'in order', kind: 'in-order' };
  if (ok === false) return { sign: '✗', words: 'wrong', kind: 'bad' };
  return seen
    ? { sign: '●', words: 'seen', kind: 'seen' }
    : { sign: '?', words: 'not seen', kind: 'unknown' };
}
