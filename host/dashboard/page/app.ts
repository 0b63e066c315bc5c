import type { HostEvent } from '../../records/event.js';
import type { ConnectionReport, ForwardReport, StatusReport } from '../../records/reports.js';
import { ConnectionList } from './connection-list.js';
import { ConnectionsView } from './connections-view.js';
import { DetailView } from './detail-view.js';
import { byId, setText } from './dom.js';
import { Feed, type FeedReader } from './feed.js';
import { ForwardList } from './forward-list.js';
import { ForwardsView } from './forwards-view.js';
import { HeaderView } from './header-view.js';
import type { Actions, Model } from './model.js';
import { Rates } from './rates.js';
import { outcomeInWords } from './words.js';

const TICK_MS = 1_000;

/** What no event tells, such as the round trip, is asked for as often as this (ms), while somebody looks. */
const STATUS_MS = 5_000;

/** Without traffic nothing is told of it: after so long (ms) nothing was carried. */
const SILENCE_MS = 1_500;

/** Failures are read out no faster than this (ms). */
const NEWS_MS = 5_000;

/** The page as a whole. */
export class App implements FeedReader, Actions {
  readonly #model: Model = {
    forwards: new ForwardList(),
    connections: new ConnectionList(),
    rates: new Rates(),
    host: undefined,
    channel: undefined,
    feedProblem: 'connecting …',
    selected: undefined,
    search: '',
    failuresOnly: false,
    selectedOnly: false,
  };
  readonly #feed: Feed;
  readonly #header = new HeaderView();
  readonly #forwards: ForwardsView;
  readonly #connections: ConnectionsView;
  readonly #detail: DetailView;
  #frame: number | undefined;
  #sampledAt = 0;
  #statusAt = 0;
  #newsAt = 0;
  /** What was asked for is out of date already. */
  #lost = false;

  constructor(token: string) {
    this.#feed = new Feed(token, this);
    this.#forwards = new ForwardsView(this.#model, this);
    this.#connections = new ConnectionsView(this.#model, this);
    this.#detail = new DetailView(this.#model, this, this.#feed);
  }

  start(): void {
    void this.#feed.connect();
    setInterval(() => this.#tick(), TICK_MS);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      this.#forwards.redrawCharts();
      this.#detail.redrawChart();
      this.changed();
    });
    addEventListener('resize', () => this.changed());
    document.addEventListener('keydown', (event) => this.#onKey(event));
    this.changed();
  }

  // ---- what the user does ----------------------------------------------------------------------------

  select(id: string | undefined): void {
    const before = this.#model.selected;
    const next = id === before ? undefined : id;
    this.#model.selected = next;
    this.#detail.show(next === undefined ? undefined : this.#model.forwards.get(next));
    if (next === undefined && before !== undefined) this.#forwards.focus(before);
    this.changed();
  }

  changed(): void {
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  #onKey(event: KeyboardEvent): void {
    const typing = event.target instanceof HTMLInputElement && event.target.type === 'search';
    if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      byId('forwards-filter').focus();
    }
    if (event.key === 'Escape' && !typing) this.select(undefined);
  }

  // ---- what the host tells ---------------------------------------------------------------------------

  async onConnected(): Promise<void> {
    const [status, forwards, connections] = await Promise.all([
      this.#feed.get<StatusReport>('/v1/status'),
      this.#feed.get<ForwardReport[]>('/v1/forwards'),
      this.#feed.get<ConnectionReport[]>('/v1/connections'),
    ]);
    const { rates } = this.#model;
    this.#takeStatus(status);
    this.#model.forwards.reset(forwards);
    this.#model.connections.reset(connections);
    this.#sampledAt = Date.now();
    rates.begin(
      this.#sampledAt,
      forwards.map(({ id, counters }) => ({ id, ...counters })),
    );
    this.#model.feedProblem = undefined;
    this.changed();
  }

  onEvent(event: HostEvent): void {
    const { forwards, connections, rates } = this.#model;
    switch (event.type) {
      case 'opened':
        connections.open(event.connection);
        break;
      case 'ended':
        connections.end(event.connection, Date.parse(event.time));
        break;
      case 'channel':
        this.#model.channel = event.channel;
        break;
      case 'forward':
        forwards.apply(event);
        if (event.change === 'removed') rates.forget(event.forward.id);
        break;
      case 'traffic':
        for (const traffic of event.forwards) forwards.count(traffic);
        this.#sampledAt = Date.now();
        rates.sample(this.#sampledAt, event.forwards);
        break;
      case 'lost':
        this.#lost = true;
        break;
    }
    this.changed();
  }

  onLost(): void {
    this.#model.feedProblem = 'no answer from the host; trying again …';
    this.changed();
  }

  onRefused(): void {
    this.#model.feedProblem = "the host has another token: run 'portferry dashboard' for the address of now";
    this.changed();
  }

  #takeStatus({ version, pid, channel }: StatusReport): void {
    this.#model.host = { version, pid };
    this.#model.channel = channel;
    this.#statusAt = Date.now();
  }

  #tick(): void {
    const now = Date.now();
    const live = this.#model.feedProblem === undefined;
    if (live && this.#lost) {
      this.#lost = false;
      // What fails here, the feed finds out, too.
      this.onConnected().catch(() => {});
    } else if (live && !document.hidden && now - this.#statusAt >= STATUS_MS) {
      this.#statusAt = now;
      this.#feed.get<StatusReport>('/v1/status').then(
        (status) => this.#takeStatus(status),
        () => {},
      );
    }
    if (now - this.#sampledAt >= SILENCE_MS) {
      this.#sampledAt = now;
      this.#model.rates.sample(now, []);
    }
    this.#tellNews(now);
    this.changed();
  }

  /** For who does not see the table: the last failure, now and then. */
  #tellNews(now: number): void {
    const { lastFailure } = this.#model.connections;
    if (!lastFailure || now - this.#newsAt < NEWS_MS) return;
    this.#newsAt = now;
    setText(byId('news'), `The last failure, on ${lastFailure.forward}: ${outcomeInWords(lastFailure)}`);
  }

  #draw(): void {
    this.#frame = undefined;
    const now = Date.now();
    this.#header.draw(this.#model, now);
    this.#forwards.draw(this.#model);
    this.#detail.draw(this.#model);
    this.#connections.draw(this.#model, now);
  }
}
