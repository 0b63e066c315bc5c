const SECONDS_PER_MINUTE = 60;
const SECONDS_PER_HOUR = 3600;
const SECONDS_PER_DAY = 86_400;

/** `42 s`, `12 min`, `5 h`, `3 d` */
export function formatDuration(seconds: number): string {
  if (seconds < SECONDS_PER_MINUTE) return `${Math.floor(seconds)} s`;
  if (seconds < SECONDS_PER_HOUR) return `${Math.floor(seconds / SECONDS_PER_MINUTE)} min`;
  if (seconds < SECONDS_PER_DAY) return `${Math.floor(seconds / SECONDS_PER_HOUR)} h`;
  return `${Math.floor(seconds / SECONDS_PER_DAY)} d`;
}

const MILLISECONDS = 1000;

/** `5 s ago` @param at ISO 8601 @param now ms since 1970 */
export function formatAgo(at: string, now: number): string {
  // Clocks are set back.
  return `${formatDuration(Math.max(0, now - Date.parse(at)) / MILLISECONDS)} ago`;
}
