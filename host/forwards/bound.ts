import { formatDestination } from '../../protocol/wire/destination.js';
import { wildcardOf } from '../listen/bind-rules.js';
import type { ClientListener } from '../listen/listener.js';
import { UdpListener } from '../listen/udp-listener.js';
import { addressesOverlap, formatHostEnd } from '../rule/forward-rule.js';
import type { Claim } from './claim.js';
import { FailureCauses } from './failure-causes.js';
import { type Forward, forwardId, noCounts } from './forward.js';

/** A forward that is bound, and who wants it: it goes when the last one lets go. */
export interface Bound {
  readonly forward: Forward;
  readonly listener: ClientListener | UdpListener;
  readonly claims: Set<Claim>;
}

/** What is listened on, as everybody sees it. */
export function makeForward(listener: ClientListener | UdpListener, claims: ReadonlySet<Claim>): Forward {
  const { rule, addresses } = listener;
  return {
    id: forwardId(rule),
    rule,
    get origin() {
      const origins = new Set([...claims].map(({ holder }) => holder.origin));
      if (origins.has('static')) return 'static';
      return origins.has('runtime') ? 'runtime' : 'published';
    },
    get publisher() {
      for (const { holder } of claims) if (holder.publisher !== undefined) return holder.publisher;
      return undefined;
    },
    createdAt: new Date(),
    addresses,
    filtered: !(listener instanceof UdpListener) && listener.filtered,
    counters: noCounts(),
    failures: new FailureCauses(),
  };
}

/** Whether a forward of ours has an address, or what stands for it. */
export function isInTheWay({ rule, filtered }: Forward, ip: string): boolean {
  return (
    rule.proto !== 'unix' &&
    rule.hostIps.some((own) => addressesOverlap(filtered ? wildcardOf(own) : own, ip))
  );
}

/** For messages. */
export function describeForward({ rule }: Forward): string {
  return `the forward ${formatHostEnd(rule)} → ${formatDestination(rule.destination)}`;
}
