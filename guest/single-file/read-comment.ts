import { readFileSync } from 'node:fs';

/** What a script of one file carries: comments at its end, `// NAME BASE64`, a line each. */
export function readComment(path: string, name: string): string | undefined {
  const text = readFileSync(path, 'latin1');
  const mark = `\n// ${name} `;
  const at = text.lastIndexOf(mark);
  if (at < 0) return undefined;
  const start = at + mark.length;
  const end = text.indexOf('\n', start);
  return text.slice(start, end < 0 ? undefined : end);
}
