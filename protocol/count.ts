/**
 * `1 forward`, `12 forwards`
 * @param more what several are called; default: with an s
 */
export function formatCount(count: number, one: string, more = `${one}s`): string {
  return `${count} ${count === 1 ? one : more}`;
}
