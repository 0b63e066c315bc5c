import type { Probe } from './probe.js';

/** What the instrumented code of this program says things to; the first line of its bundle makes it. */
export const { $probe: running } = globalThis as unknown as { $probe: Probe };
