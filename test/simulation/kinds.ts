import { playControl } from './control/script.js';
import { playData } from './data/script.js';
import type { World } from './world/world.js';

/** Plays the schedule of a seed, and returns its world. @throws Violation, or whatever the product throws */
export type Play = (seed: number, trace?: (line: string) => void) => World;

/** What can be simulated. */
export const KINDS = { data: playData, control: playControl } satisfies Record<string, Play>;

export type Kind = keyof typeof KINDS;
