import { formatAgo } from '../../protocol/duration.js';
import type { FailureReport } from '../forwards/failure-causes.js';
import { FAILED_LATELY_SECONDS } from './reports.js';

const MILLISECONDS = 1000;

/** Those causes of which one has happened within FAILED_LATELY_SECONDS. @param now ms since 1970 */
export function recentFailures(failures: readonly FailureReport[], now: number): FailureReport[] {
  return failures.filter(({ lastAt }) => now - Date.parse(lastAt) <= FAILED_LATELY_SECONDS * MILLISECONDS);
}

/**
 * `failed 3 times (SC ECONNREFUSED), the last time 5 s ago: the guest could not reach …; and 1 time (XD)`
 * @param failures the last cause first
 * @returns undefined where there are none
 */
export function describeFailures(failures: readonly FailureReport[], now: number): string | undefined {
  const [last, ...others] = failures;
  if (!last) return undefined;
  const more = others.map((failure) => `; and ${countOf(failure)}`).join('');
  return `failed ${countOf(last)}, the last time ${formatAgo(last.lastAt, now)}: ${last.lastMessage}${more}`;
}

function countOf({ count, cause }: FailureReport): string {
  return `${count === 1 ? 'once' : `${count} times`} (${cause})`;
}
