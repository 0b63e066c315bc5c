// Results in words: medians, and the worst.

/** What is seen, in the words of the report. */
const SEEN = {
  SHORT: 'CLEAN END, CUT SHORT',
  'WRONG BYTES': 'WRONG BYTES',
  'empty end': 'clean end without a byte',
};

/** 0.15 ms, 12 ms, 1.5 s */
export function time(ms) {
  if (ms < 10) return `${ms.toPrecision(2)} ms`;
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

/** When a new connection was answered. */
export function again(worksMs) {
  if (worksMs?.missing) return `never again (${worksMs.missing} of ${worksMs.count} times)`;
  return `works again after ${spread(worksMs)}`;
}

function spread({ median, worst }) {
  const [usual, most] = [time(median), time(worst)];
  return usual === most ? usual : `${usual} (at worst ${most})`;
}

/** Of each number the median and the worst, of all results what was seen. */
export function summarize(results) {
  const summary = {};
  const keys = new Set(results.flatMap((result) => Object.keys(result)));
  for (const key of keys) {
    const values = results.map((result) => result[key]);
    const numbers = values.filter((value) => typeof value === 'number' || typeof value === 'boolean');
    if (numbers.length === 0 && key !== 'worksMs') continue;
    numbers.sort((a, b) => a - b);
    summary[key] = {
      median: numbers[Math.floor((numbers.length - 1) / 2)],
      worst: numbers.at(-1),
      missing: values.length - numbers.length,
      count: values.length,
    };
  }
  const seen = {};
  for (const result of results) seen[result.seen] = (seen[result.seen] ?? 0) + 1;
  return { ...summary, seen };
}

/** A fault with one forwarder, in one cell of the table. */
export function cellOf(fault, { lacks, failed, results }) {
  if (lacks !== undefined) return lacks;
  if (failed !== undefined) return `could not be tried: ${failed}`;
  const summary = summarize(results);
  if (fault.cell) return fault.cell(summary);
  const ended = endingOf(summary);
  return summary.worksMs ? `${ended}; ${again(summary.worksMs)}` : ended;
}

/** What was seen, and after how long; where it was not always the same, how often. */
export function endingOf({ seen, ms }) {
  const counts = Object.entries(seen).sort(([, a], [, b]) => b - a);
  const words = counts.map(([what, count]) => {
    const name = SEEN[what] ?? what;
    return counts.length > 1 ? `${name} (${count} of ${ms.count})` : name;
  });
  return `${words.join(' or ')} ${seen.nothing === ms.count ? 'for' : 'after'} ${spread(ms)}`;
}
