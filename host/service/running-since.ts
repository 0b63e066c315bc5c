/**
 * When something began that has run so long.
 * @param seconds as a program of the system has told
 * @returns ISO 8601; undefined when there was no such time
 */
export function runningSince(seconds: number): string | undefined {
  const began = new Date(Date.now() - seconds * 1000);
  return seconds >= 0 && !Number.isNaN(began.getTime()) ? began.toISOString() : undefined;
}
