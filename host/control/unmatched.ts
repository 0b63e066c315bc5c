import type { ForwardTable } from '../forwards/forward-table.js';
import type { ForwardMatcher } from '../rule/forward-matcher.js';
import { formatGuestEnd, formatHostEnd } from '../rule/forward-rule.js';

/** Forwards that are named to somebody who has named none that is there. */
export const MAX_NAMED = 3;

/** That nothing is forwarded there, and what is there on the same port, of the other protocol, too. */
export function describeUnmatched({ text, hostEnds }: ForwardMatcher, forwards: ForwardTable): string {
  const ends = hostEnds.flatMap((end) => [end, otherProtocol(end)]);
  const near = ends.flatMap((end) => forwards.at(end));
  const named = near
    .slice(0, MAX_NAMED)
    .map((rule) => `${rule.proto} ${formatHostEnd(rule)} → ${formatGuestEnd(rule)}`);
  const more = near.length > MAX_NAMED ? ` and ${near.length - MAX_NAMED} more` : '';
  const there = near.length === 0 ? '' : `; what is there: ${named.join(', ')}${more}`;
  return `nothing is forwarded from ${text}${there}`;
}

/** Of a path it is nothing that there could be. */
function otherProtocol(end: string): string {
  return end.startsWith('tcp ') ? end.replace('tcp', 'udp') : end.replace('udp', 'tcp');
}
