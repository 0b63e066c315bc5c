import { type BenchReport, formatNumber, type MetricReport, OURS } from './report.js';

const WIDTH = 900;
const NAME_WIDTH = 150;
const VALUE_WIDTH = 170;
const BAR_HEIGHT = 18;
const BAR_GAP = 6;
const TITLE_HEIGHT = 34;
const PANEL_GAP = 18;
const MARGIN = 24;
const HEADER_HEIGHT = 62;

/** The report as one SVG picture: a panel of bars for each metric, the better end on the right where more is. */
export function drawChart(report: BenchReport): string {
  const panels: string[] = [];
  let y = MARGIN + HEADER_HEIGHT;
  for (const metric of report.metrics) {
    const { body, height } = drawPanel(metric, y);
    panels.push(body);
    y += height + PANEL_GAP;
  }
  const { machine, runs } = report;
  const subtitle = `${machine.cpu}, ${machine.cores} cores; ${machine.os}; Node ${machine.node}; median of ${runs} alternating runs, line from lowest to highest`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y + MARGIN}" viewBox="0 0 ${WIDTH} ${y + MARGIN}" font-family="system-ui, sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="${MARGIN}" y="${MARGIN + 16}" font-size="20" font-weight="600" fill="#1a1a1a">portferry and other forwarders</text>
<text x="${MARGIN}" y="${MARGIN + 40}" font-size="11" fill="#666666">${escapeXml(subtitle)}</text>
${panels.join('\n')}
</svg>
`;
}

function drawPanel(
  { describe, metric, unit, better, figures }: MetricReport,
  top: number,
): { body: string; height: number } {
  const largest = Math.max(...figures.map(({ max = 0 }) => max));
  // Where nothing is above zero there are no bars. A bar cannot be shorter than nothing either.
  const scale = largest > 0 ? (WIDTH - 2 * MARGIN - NAME_WIDTH - VALUE_WIDTH) / largest : 0;
  const left = MARGIN + NAME_WIDTH;
  const width = (value: number): number => Math.max(0, value) * scale;
  const title = `${describe}: ${metric}, ${unit} (${better} is better)`;
  const rows = [
    `<text x="${MARGIN}" y="${top + 18}" font-weight="600" fill="#1a1a1a">${escapeXml(title)}</text>`,
  ];
  let y = top + TITLE_HEIGHT;
  for (const { rival, median, min = 0, max = 0, advantage, failed } of figures) {
    const middle = y + BAR_HEIGHT / 2;
    rows.push(
      `<text x="${left - 10}" y="${middle + 4}" text-anchor="end" fill="#333333">${escapeXml(rival)}</text>`,
    );
    if (median === undefined) {
      rows.push(
        `<text x="${left}" y="${middle + 4}" fill="#999999">${failed === undefined ? 'not measured' : 'failed'}</text>`,
      );
    } else {
      const ratio = advantage === undefined || rival === OURS ? '' : ` (${advantage.toFixed(2)} ×)`;
      const end = left + width(Math.max(median, max));
      rows.push(
        `<rect x="${left}" y="${y}" width="${width(median).toFixed(1)}" height="${BAR_HEIGHT}" rx="2" fill="${rival === OURS ? '#1f6feb' : '#b7c3d0'}"/>`,
        `<line x1="${(left + width(min)).toFixed(1)}" x2="${(left + width(max)).toFixed(1)}" y1="${middle}" y2="${middle}" stroke="#333333"/>`,
        `<text x="${(end + 8).toFixed(1)}" y="${middle + 4}" fill="#333333">${formatNumber(median)}${ratio}</text>`,
      );
    }
    y += BAR_HEIGHT + BAR_GAP;
  }
  return { body: rows.join('\n'), height: y - top };
}

function escapeXml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
