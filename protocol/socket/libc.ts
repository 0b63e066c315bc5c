import { loadCalls } from './c-calls.js';
import { loadKoffi } from './koffi.js';

/** The calls of the C library that portferry needs and Node does not offer. They set errno when they return -1. */
export interface Libc {
  setsockopt(fd: number, level: number, name: number, value: Int32Array, bytes: number): number;
}

/** The C library of this process, or null where koffi has no build for the machine. */
export const libc: Libc | null = loadLibc();

/** @param load brings koffi, or throws */
export function loadLibc(load: () => unknown = loadKoffi): Libc | null {
  // portferry goes on without it: slower, and what it carries is not reset when it dies (see start.ts).
  return loadCalls(load, (library) => ({
    setsockopt: library.func('int setsockopt(int fd, int level, int name, const int *value, uint32_t bytes)'),
  }));
}
