import { readFileSync } from 'node:fs';
import t from 'tap';
import { HostMetrics } from '../../host/control/metrics.js';
import { ObservedHost } from '../host/control/fixtures/observed-host.js';

interface Dashboard {
  panels: { title: string; targets: { expr: string }[] }[];
}

const dashboard = JSON.parse(
  readFileSync(new URL('../../docs/grafana.json', import.meta.url), 'utf8'),
) as Dashboard;

t.test('every query of the Grafana dashboard asks for what /metrics has, and none is left out', async (t) => {
  const metrics = new HostMetrics(new ObservedHost().target);
  t.teardown(() => metrics.close());
  const types = (await metrics.scrape()).matchAll(/^# TYPE (\w+) (\w+)$/gm);
  const known = new Map([...types].map(([, name = '', type]) => [name, type]));
  t.ok(known.size > 15);
  const asked = new Set<string>();
  for (const { title, targets } of dashboard.panels) {
    t.ok(targets.length > 0, title);
    for (const { expr } of targets)
      for (const [written] of expr.matchAll(/portferry_\w+/g)) {
        const name = known.has(written) ? written : written.replace(/_bucket$/, '');
        t.ok(known.has(name), `${title}: ${written}`);
        t.equal(known.get(name) === 'histogram', written.endsWith('_bucket'), `${written} is of that kind`);
        asked.add(name);
      }
  }
  t.same(
    [...known.keys()].filter((name) => !asked.has(name)),
    [],
    'all are shown',
  );
});
