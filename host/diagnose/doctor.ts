import {
  containerDown,
  notForwarded,
  nothingAnywhere,
  nothingInside,
  onLoopbackInside,
  unhealthy,
} from './container-checks.js';
import type { Check, Complaint, Evidence } from './evidence.js';
import { dropped, noDnat, nothingInGuest, probeFailed } from './guest-checks.js';
import { channelDown, crowded, forwardFailed, heldByAnother, shadowed, silentGuest } from './host-checks.js';

/** The first that complains is right: each looks only at what those before it have found in order. */
const CHECKS: readonly Check[] = [
  heldByAnother,
  forwardFailed,
  shadowed,
  channelDown,
  crowded,
  silentGuest,
  containerDown,
  notForwarded,
  nothingAnywhere,
  nothingInside,
  onLoopbackInside,
  dropped,
  nothingInGuest,
  noDnat,
  probeFailed,
  unhealthy,
];

/** What is wrong with the way of a port; undefined: nothing that can be seen. */
export function judge(evidence: Evidence): Complaint | undefined {
  for (const check of CHECKS) {
    const complaint = check(evidence);
    if (complaint) return complaint;
  }
  return undefined;
}
