import type { CaptureLimits } from './capture.js';

/** The most bytes of a packet that Wireshark and tcpdump read. */
export const MAX_SNAP_LENGTH = 262_144;

/** A file that is still handy, on any disk. */
const DEFAULT_MAX_BYTES = 256 * 1024 * 1024;
const MIN_MAX_BYTES = 4096;
const MAX_MAX_BYTES = 1024 ** 4;

/** What is forgotten ends by itself. */
const DEFAULT_SECONDS = 3600;
const MAX_SECONDS = 7 * 86_400;

/** Bounded by the bytes alone. */
const MAX_PACKETS = 2 ** 31 - 1;

/** What each limit may be, and what it is where nothing is said. */
export const LIMITS = {
  maxBytes: { min: MIN_MAX_BYTES, max: MAX_MAX_BYTES, default: DEFAULT_MAX_BYTES },
  seconds: { min: 0.001, max: MAX_SECONDS, default: DEFAULT_SECONDS },
  packets: { min: 1, max: MAX_PACKETS, default: MAX_PACKETS },
  snapLength: { min: 64, max: MAX_SNAP_LENGTH, default: MAX_SNAP_LENGTH },
} as const satisfies Record<keyof CaptureLimits, { min: number; max: number; default: number }>;

/** Fills in what is left out. */
export function completeLimits(given: Partial<CaptureLimits>): CaptureLimits {
  return {
    maxBytes: given.maxBytes ?? LIMITS.maxBytes.default,
    seconds: given.seconds ?? LIMITS.seconds.default,
    packets: given.packets ?? LIMITS.packets.default,
    snapLength: given.snapLength ?? LIMITS.snapLength.default,
  };
}
