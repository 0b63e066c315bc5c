import t from 'tap';
import { drawChart } from '../../../host/bench/chart.js';
import { type BenchReport, makeReport, type RivalFigure } from '../../../host/bench/report.js';
import { benchResult } from '../../fixtures/bench-result.js';
import { parseXml, type XmlElement } from '../../fixtures/xml.js';

/** The chart of one metric with these figures. */
function chartOf(figures: RivalFigure[]): XmlElement {
  const report = makeReport(benchResult(), { runs: 5, seconds: 2, scale: 1 });
  const [metric] = report.metrics;
  return parseXml(drawChart({ ...report, metrics: metric ? [{ ...metric, figures }] : [] }));
}

const texts = (chart: XmlElement): string[] => chart.children.flatMap(({ text }) => text || []);
const numbers = (chart: XmlElement, name: string, attribute: string): number[] =>
  chart.children
    .filter((element) => element.name === name)
    .map(({ attributes }) => Number(attributes[attribute]));

t.test('has a panel for each metric, with all rivals', async (t) => {
  const chart = parseXml(drawChart(makeReport(benchResult(), { runs: 5, seconds: 2, scale: 1 })));
  t.match(chart, { name: 'svg', attributes: { xmlns: 'http://www.w3.org/2000/svg' } });
  const [title, subtitle, ...rest] = texts(chart);
  t.equal(title, 'portferry and other forwarders');
  t.match(subtitle, /cores; .*Node v.*; median of 5 alternating runs/);
  t.same(rest, [
    'a bulk transfer: throughput, Gbit/s (more is better)',
    ...[
      'direct',
      '40.0 (0.25 ×)',
      'portferry',
      '10.0',
      'tortoise',
      '0.000123 (81300.81 ×)',
      'stone',
      'failed',
    ],
    'a bulk transfer: cpu, CPU s/GiB (less is better)',
    ...['direct', 'not measured', 'portferry', '0.500', 'tortoise', '1,234 (2467.00 ×)', 'stone', 'failed'],
  ]);
});

t.test(
  'bars are as long as their medians, lines go from lowest to highest, all within the picture',
  async (t) => {
    const chart = chartOf([
      { rival: 'a', median: 10, min: 5, max: 20 },
      { rival: 'b', median: 5, min: 5, max: 5 },
    ]);
    // The first rectangle is the background.
    const [, first = 0, second = 0] = numbers(chart, 'rect', 'width');
    const [, x = 0] = numbers(chart, 'rect', 'x');
    t.ok(second > 0);
    t.equal(first, 2 * second);
    t.same(
      numbers(chart, 'line', 'x1').map((start) => start - x),
      [second, second],
    );
    t.same(
      numbers(chart, 'line', 'x2').map((end) => end - x),
      [4 * second, second],
    );
    const width = Number(chart.attributes['width']);
    t.ok(numbers(chart, 'text', 'x').every((at) => at > 0 && at < width));
    t.ok(numbers(chart, 'text', 'y').every((at) => at < Number(chart.attributes['height'])));
  },
);

t.test('what is zero, negative or not there has no length, and every number is one', async (t) => {
  const cases: RivalFigure[][] = [
    [{ rival: 'zero', median: 0, min: 0, max: 0 }],
    [
      { rival: 'negative', median: -3, min: -5, max: 2 },
      { rival: 'zero', median: 0, min: 0, max: 0 },
    ],
    [{ rival: 'negative', median: -3, min: -5, max: -1 }],
    [{ rival: 'none' }, { rival: 'failed', failed: 'x' }, { rival: 'skipped', skipped: 'x' }],
    [],
  ];
  for (const figures of cases) {
    const chart = chartOf(figures);
    for (const { name, attributes } of chart.children) {
      for (const key of ['x', 'y', 'x1', 'x2', 'y1', 'y2', 'width', 'height']) {
        const value = attributes[key];
        t.ok(value === undefined || value === '100%' || Number(value) >= 0, `${name} ${key} ${value}`);
      }
    }
    t.ok(
      numbers(chart, 'rect', 'width')
        .slice(1)
        .every((width) => width === 0),
    );
  }
});

t.test('what is written in it cannot break it', async (t) => {
  const nasty = `<&>"']]>--`;
  const report: BenchReport = makeReport(benchResult(), { runs: 5, seconds: 2, scale: 1 });
  report.machine.cpu = nasty;
  for (const metric of report.metrics) {
    metric.describe = nasty;
    for (const figure of metric.figures) figure.rival = nasty;
  }
  const written = texts(parseXml(drawChart(report)));
  t.equal(written.filter((text) => text === nasty).length, 8);
  t.ok(written.some((text) => text.startsWith(`${nasty}: throughput`)));
});
