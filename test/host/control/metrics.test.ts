import { once } from 'node:events';
import http from 'node:http';
import t from 'tap';
import { ForwardLabels } from '../../../host/control/forward-labels.js';
import { HostMetrics, type LoopWatch } from '../../../host/control/metrics.js';
import { closed } from '../../../host/records/ending.js';
import { parseSpecMatcher } from '../../../host/rule/forward-matcher.js';
import { parseSpec } from '../../../host/rule/forward-spec.js';
import { fakeStatus } from '../../fixtures/control-reports.js';
import { fakeCarrier } from '../../fixtures/fake-carrier.js';
import { fakeForward } from '../../fixtures/fake-forward.js';
import { Signal } from '../../protocol/fixtures/signal.js';
import { ObservedHost } from './fixtures/observed-host.js';

async function get(host: ObservedHost): Promise<{ type: string | undefined; text: string }> {
  const request = http.get({ socketPath: host.path, path: '/metrics', agent: false });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  let text = '';
  for await (const chunk of response) text += chunk;
  return { type: response.headers['content-type'], text };
}

/** The lines of a metric, without its name. */
function linesOf(text: string, name: string): string[] {
  return text
    .split('\n')
    .filter((line) => new RegExp(`^portferry_${name}[ {]`).test(line))
    .map((line) => line.replace(`portferry_${name}`, '').trim());
}

t.test('a scrape over the control socket: nobody watches before the first one', async (t) => {
  const host = await ObservedHost.start(t);
  const [forward] = await host.forwards.expose(parseSpec('127.0.0.1:0:80'));
  if (!forward) throw new Error('it is exposed');
  host.serve('fine', forward);
  host.serve('failed', forward);
  t.equal(host.observers, 0);
  const { type, text } = await get(host);
  t.match(type, /^text\/plain; version=0\.0\.4/);
  t.equal(host.observers, 1);
  const name = `forward="${forward.id}"`;
  t.same(linesOf(text, 'connections_total'), [`{${name}} 2`]);
  t.same(linesOf(text, 'connections_ended_total'), [
    `{${name},outcome="closed"} 1`,
    `{${name},outcome="refused"} 0`,
    `{${name},outcome="failed"} 1`,
    `{${name},outcome="empty"} 0`,
  ]);
  t.same(linesOf(text, 'bytes_total'), [
    `{${name},direction="to_guest"} 2`,
    `{${name},direction="to_host"} 4`,
  ]);
  t.same(linesOf(text, 'info'), ['{version="1.2.3",peer="same"} 1']);
  t.same(linesOf(text, 'channel_up'), ['1']);
  t.same(linesOf(text, 'channel_round_trip_seconds'), [], 'it is not known');
  t.same(linesOf(text, 'forwards'), ['{state="listening"} 1', '{state="failed"} 0']);
  t.same(linesOf(text, 'window_budget_free_bytes'), ['1000']);
  t.ok(Number(linesOf(text, 'open_descriptors')[0]) > 3);

  const record = host.records.begin(forward, { client: undefined, listener: undefined });
  const carrier = fakeCarrier(0, 1);
  record.streamOpened(4, carrier);
  record.dialled({ step: 'connected', micros: 300, reason: undefined });
  record.firstByte();
  const second = (await get(host)).text;
  t.same(linesOf(second, 'connections_total'), [`{${name}} 3`]);
  t.same(linesOf(second, 'connections_active'), [`{${name}} 1`]);
  t.same(linesOf(second, 'dial_seconds_sum'), ['0.0003']);
  t.same(linesOf(second, 'dial_seconds_count'), ['1']);
  t.same(linesOf(second, 'first_byte_seconds_count'), ['1']);
  carrier.sendStalledMs = 1500;
  t.same(linesOf((await get(host)).text, 'stalled_seconds_total'), [
    `{${name},direction="to_guest"} 1.5`,
    `{${name},direction="to_host"} 0`,
  ]);
  Object.assign(carrier, { sendStalledMs: 2000, receiveStalledMs: 250 });
  record.ended(closed('client'));
  t.same(linesOf((await get(host)).text, 'stalled_seconds_total'), [
    `{${name},direction="to_guest"} 2`,
    `{${name},direction="to_host"} 0.25`,
  ]);

  await host.forwards.unexpose([parseSpecMatcher(forward.id.slice(4))]);
  await host.forwards.expose(parseSpec('127.0.0.1:0:81'));
  t.same((await get(host)).text.includes(name), false, 'a forward that has gone leaves nothing');
});

t.test('a plain guest has neither round trip nor version, and its dial is not told', async (t) => {
  const host = new ObservedHost();
  const metrics = new HostMetrics(host.target);
  t.teardown(() => metrics.close());
  const record = host.records.begin(fakeForward(), { client: undefined, listener: undefined });
  record.firstByte();
  host.target.status = () =>
    fakeStatus({ peer: { version: null, features: [] }, roundTripMs: 2, reconnects: 3 });
  const text = await metrics.scrape();
  t.same(linesOf(text, 'info'), ['{version="1.2.3",peer="other"} 1']);
  t.same(linesOf(text, 'channel_round_trip_seconds'), ['0.002']);
  t.same(linesOf(text, 'channel_reconnects_total'), ['3']);
  t.same(linesOf(text, 'first_byte_seconds_count'), ['0']);
  const { peer: _, ...channel } = fakeStatus({ state: 'waiting', reconnects: 3 }).channel;
  host.target.status = () => ({ ...fakeStatus(), channel });
  host.target.resources = () => ({ maxDescriptors: Number.POSITIVE_INFINITY, maxClients: 1 });
  const without = await metrics.scrape();
  t.same(linesOf(without, 'info'), ['{version="1.2.3",peer="none"} 1']);
  t.same(linesOf(without, 'channel_up'), ['0']);
  t.same(linesOf(without, 'channel_round_trip_seconds'), []);
  t.same(linesOf(without, 'window_budget_free_bytes'), []);
  t.same(linesOf(without, 'max_descriptors'), ['+Inf']);
});

/** Says that nothing was seen before enable(), and something after it. */
class FakeLoop implements LoopWatch {
  enabled = false;
  readonly signal = new Signal();
  mean = 1e9;
  max = 3e9;

  get count(): number {
    return this.enabled ? 5 : 0;
  }

  enable(): boolean {
    const changed = !this.enabled;
    this.enabled = true;
    return changed;
  }

  disable(): boolean {
    this.enabled = false;
    this.signal.wake();
    return true;
  }

  reset(): void {}

  percentile(): number {
    return 2e9;
  }
}

t.test('the event loop is watched from the first scrape on, until none has come for a while', async (t) => {
  const host = new ObservedHost();
  const loop = new FakeLoop();
  const metrics = new HostMetrics(host.target, { loop, watchedMs: 500 });
  t.equal(loop.enabled, false);
  const delays = async (): Promise<string[]> => linesOf(await metrics.scrape(), 'event_loop_delay_seconds');
  t.same(await delays(), []);
  t.same(await delays(), ['{statistic="mean"} 1', '{statistic="p99"} 2', '{statistic="max"} 3']);
  // The timer that ends it keeps no process alive.
  const alive = setInterval(() => {}, 1_000);
  await loop.signal.until(() => !loop.enabled);
  clearInterval(alive);
  t.same(await delays(), [], 'nothing was watched meanwhile');
  metrics.close();
  t.equal(loop.enabled, false);
  t.equal(host.observers, 0);
});

t.test('forwards beyond a number are one series, which never counts backwards', async (t) => {
  const labels = new ForwardLabels(2);
  const [a, b, c, d] = [fakeForward('1:1'), fakeForward('2:2'), fakeForward('3:3'), fakeForward('4:4')];
  const named = (forwards: (typeof a)[]): string[] => [...labels.update(forwards).labels.values()];
  t.same(named([a, b, c]), ['tcp localhost:1', 'tcp localhost:2', 'other']);
  t.same(labels.update([b, c]).gone, ['tcp localhost:1']);
  t.same(named([b, c, d]), ['tcp localhost:2', 'other', 'tcp localhost:4'], 'what is others stays so');
  t.same(labels.update([b, d]).gone, [], 'others is never gone');

  const host = new ObservedHost();
  const metrics = new HostMetrics(host.target, { maxForwards: 0 });
  t.teardown(() => metrics.close());
  t.teardown(() => host.forwards.close());
  const [first, second] = await host.forwards.expose([...parseSpec('0:80'), ...parseSpec('0:81')]);
  for (const forward of [first, first, second]) host.serve('fine', forward);
  const count = async (): Promise<string[]> => linesOf(await metrics.scrape(), 'connections_total');
  t.same(await count(), ['{forward="other"} 3']);
  await host.forwards.unexpose([parseSpecMatcher(`${first?.id.slice(4).replace('localhost:', '')}`)]);
  t.same(await count(), ['{forward="other"} 3']);
});
