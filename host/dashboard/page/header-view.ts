import { byId, element, setText } from './dom.js';
import type { Model } from './model.js';
import { channelFacts, hostInWords, ratesInWords } from './words.js';

/** Who is asked, whether it answers, and how its channel is. */
export class HeaderView {
  readonly #host = byId('host');
  readonly #feed = byId('feed');
  readonly #channel = byId('channel');
  readonly #state = byId('channel-state');
  readonly #facts = byId('channel-facts');
  readonly #shown = new Map<string, HTMLElement>();

  draw({ host, channel, feedProblem, rates }: Model, now: number): void {
    setText(this.#host, host ? hostInWords(host) : '');
    setText(this.#feed, feedProblem ?? 'live');
    this.#feed.className = feedProblem === undefined ? 'good' : 'bad';
    this.#channel.hidden = !channel;
    if (!channel) return;
    const connected = channel.state === 'connected';
    setText(this.#state, connected ? '● connected' : '○ waiting for the guest');
    this.#state.className = connected ? 'good' : 'bad';
    const facts = [...channelFacts(channel, now), ['rate', ratesInWords(rates.total)] as const];
    for (const [name, value] of facts) setText(this.#valueOf(name), value);
    for (const [name, value] of this.#shown)
      if (value.parentElement) value.parentElement.hidden = !facts.some((fact) => fact[0] === name);
  }

  #valueOf(name: string): HTMLElement {
    let value = this.#shown.get(name);
    if (!value) {
      value = element('dd');
      this.#facts.append(element('div', {}, element('dt', {}, name), value));
      this.#shown.set(name, value);
    }
    return value;
  }
}
